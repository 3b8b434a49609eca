import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_mrisr.data.tiff_extent import is_complete_tiff

PIXELS = np.random.default_rng(0).integers(0, 65536, (32, 48)).astype("uint16")


def _pillow(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def _tifffile(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PIXELS, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _pillow(PIXELS),
        _pillow(PIXELS.astype("uint8"), compression="tiff_lzw"),
        _tifffile(compression="zlib"),
        _tifffile(rowsperstrip=4),
        _tifffile(tile=(16, 16)),
        _tifffile(byteorder=">"),
        _tifffile(bigtiff=True),
    ],
    ids=["pillow", "lzw", "deflate", "strips", "tiles", "big-endian", "bigtiff"],
)
def test_every_missing_end_is_noticed(content):
    assert is_complete_tiff(content)
    assert is_complete_tiff(content + b"more")
    assert not any(is_complete_tiff(content[:size]) for size in range(4, len(content)))
