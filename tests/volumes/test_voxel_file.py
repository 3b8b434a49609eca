import errno
import gzip
import pathlib

import nibabel
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.memory import memory_limit, resident_memory
from keras_mrisr.volumes import Volume, read_volume, write_volume


def test_no_more_memory_than_is_allowed(tmp_path):
    path = tmp_path / "in.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((64, 64, 64), "int16"), np.eye(4)), path)
    with memory_limit(resident_memory() + 200_000), pytest.raises(MrisrError) as caught:
        read_volume(path)
    assert f"too little for {path}: its 64 x 64 x 64 voxels take 1 MB" in str(caught.value)
    with memory_limit(resident_memory() + 500_000_000):
        assert read_volume(path).shape == (64, 64, 64)


def test_what_follows_the_voxels_is_not_read_through(tmp_path, monkeypatch):
    """Zeros are small when they are zipped, and take long to read."""
    path = tmp_path / "in.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 6, 4), "int16"), np.eye(4)), path)
    behind = tmp_path / "behind.nii.gz"
    behind.write_bytes(gzip.compress(path.read_bytes() + bytes(50_000_000)))
    count, read = [0], gzip.GzipFile.read

    def counted(stream, size=-1):
        content = read(stream, size)
        count[0] += len(content)
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    assert read_volume(behind).array.sum() == 8 * 6 * 4
    assert 0 < count[0] < 5_000_000


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz", ".nrrd"])
def test_what_may_not_be_read_is_not_broken(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"in{suffix}"
    write_volume(Volume(np.ones((8, 6, 4), "int16"), np.eye(4)), path)
    opened = pathlib.Path.open

    def refused(self, mode="r", *arguments, **options):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", refused)
    monkeypatch.setattr("builtins.open", lambda file, *rest, **options: refused(pathlib.Path(file), *rest))
    with pytest.raises(MrisrError, match=r"Cannot read .*: Permission denied\. Check its permissions"):
        read_volume(path)
