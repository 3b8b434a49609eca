import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.memory import available_memory, memory_text, parse_memory, resident_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2e9), ("2 gb", 2e9), ("1.5G", 1.5e9), (".5T", 5e11), ("800M", 8e8), ("64KB", 64e3),
        ("2GiB", 2**31), ("512MiB", 2**29), ("1000000", 1e6), (4096, 4096),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "lots", "0", "0GB", "-2GB", "2XB", "2,5GB", "nan", "1e9", "2iB"])
def test_what_is_no_size(text):
    with pytest.raises(MrisrError, match="such as 2GB"):
        parse_memory(text)


def test_sizes_for_a_person():
    assert memory_text(2_140_000_000) == "2.1 GB"
    assert memory_text(64_000_000) == "64 MB"
    assert memory_text(1000) == "1 MB"  # Never less than it takes.


def test_what_is_taken_is_seen():
    before = resident_memory()
    block = np.ones(50_000_000, "uint8")
    assert resident_memory() - before > 0.9 * block.nbytes
    assert available_memory() > 10_000_000
