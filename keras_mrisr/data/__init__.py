"""Readers, intensity normalisation, splits by patient and the input pipeline."""

from keras_mrisr.data.image_folder import read_image_folder
from keras_mrisr.data.images import read_image, write_image
from keras_mrisr.data.lgg import read_lgg
from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for
from keras_mrisr.data.read import read_dataset
from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord
from keras_mrisr.data.splits import Split, check_disjoint, split_patients

__all__ = [
    "Finding",
    "RangeNormalizer",
    "SliceDataset",
    "SliceRecord",
    "Split",
    "check_disjoint",
    "normalizer_for",
    "read_dataset",
    "read_image",
    "read_image_folder",
    "read_lgg",
    "split_patients",
    "write_image",
]
