import base64
import io

import numpy as np
from PIL import Image

from keras_mrisr.evaluation.pictures import Encoder, outline, palette


def decode(uri):
    kind, data = uri.split(";base64,")
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_planes_are_exact():
    plane = np.linspace(0, 1, 64).reshape(8, 8)
    kind, image = decode(Encoder().plane(plane))
    assert kind == "data:image/png"
    np.testing.assert_array_equal(image[..., 0], np.rint(plane * 255))
    colours = np.random.default_rng(0).random((8, 8, 3))
    np.testing.assert_array_equal(decode(Encoder().plane(colours))[1], np.rint(colours * 255))


def test_small_pictures_are_reduced_but_for_exact_ones():
    plane = np.random.default_rng(0).random((1100, 1040))
    kind, image = decode(Encoder(small=True).plane(plane))
    assert kind == "data:image/webp" and max(image.shape) <= 512
    kind, image = decode(Encoder(small=True).plane(plane, exact=True))
    assert kind == "data:image/png" and image.shape[:2] == plane.shape
    assert decode(Encoder(small=True).error(plane, 1.0))[0] == "data:image/webp"


def test_errors_share_one_scale():
    errors = np.array([[0.0, 5.0], [10.0, 99.0]])
    _, image = decode(Encoder().error(errors, peak=10.0))
    dark, bright = image[0, 0].astype(int), image[1, 0].astype(int)
    assert dark.sum() < 30 and bright.sum() > 500
    np.testing.assert_array_equal(image[1, 1], bright)  # Beyond the peak.
    assert palette(3)[0] == "rgb({}, {}, {})".format(*dark) and len(palette(3)) == 3


def test_outline_runs_between_the_pixels():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True
    path = outline(mask)
    assert path.startswith("M") and path.endswith("Z") and path.count("M") == 1
    points = np.array([point.split() for point in path[1:-1].split("L")], float)
    assert points[:, 0].min() == 3 and points[:, 0].max() == 6
    assert points[:, 1].min() == 2 and points[:, 1].max() == 4
    assert outline(np.zeros((4, 4), bool)) == ""
    assert outline(np.ones((4, 4), bool)).count("M") == 1  # Closed at the edges of the image.
