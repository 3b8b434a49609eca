"""Scans as arrays that know where they lie, and the files that hold them."""

from keras_mrisr.volumes.formats import check_target, read_volume, write_volume
from keras_mrisr.volumes.volume import Volume, check_volume

__all__ = ["Volume", "check_target", "check_volume", "read_volume", "write_volume"]
