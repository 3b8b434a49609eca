"""Scans that come from a PACS and go back to it."""

from keras_mrisr.pacs.dicomweb import DicomWeb, upscale_study
from keras_mrisr.pacs.node import DicomNode, NodeOptions, Peer

__all__ = ["DicomNode", "DicomWeb", "NodeOptions", "Peer", "upscale_study"]
