"""Training data: readers of folders, splits by patient, pairs of LR and HR, and patches for `model.fit`."""

from keras_mrisr.data import SliceDataset, SliceRecord, Split, read_dataset, split_patients
from keras_mrisr.data.pipeline import PatchDataset, SlicePair, load_pairs, separate_channels
from keras_mrisr.data.volume_pairs import VolumePair, VolumePatches, load_volume_pairs
from keras_mrisr.training.through_plane_patches import ThroughPlanePatches

__all__ = [
    "PatchDataset",
    "SliceDataset",
    "SlicePair",
    "SliceRecord",
    "Split",
    "ThroughPlanePatches",
    "VolumePair",
    "VolumePatches",
    "load_pairs",
    "load_volume_pairs",
    "read_dataset",
    "separate_channels",
    "split_patients",
]
