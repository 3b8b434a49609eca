import dataclasses

import pytest

from keras_mrisr.data import write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.inference import SuperResolver
from keras_mrisr.packing.picture import draw_failure


@pytest.fixture
def upscaler_of(models):
    """A resolver of the RGB test model that says it undoes a degradation."""

    def make(degradation):
        resolver = SuperResolver.load(models["rgb"])
        values = get_degradation(degradation, 2).to_dict()
        resolver.info = dataclasses.replace(resolver.info, degradation=values)
        return resolver

    return make


def test_the_picture_shows_what_a_model_of_any_blur_was_not_made_for(upscaler_of, tmp_path, smooth_image):
    write_image(tmp_path / "hr.png", smooth_image(48, 48, 1))
    for own, other in (("paper", "bicubic"), ("random-blur", "kspace"), ("bicubic", "paper")):
        names = draw_failure(upscaler_of(own), tmp_path / "hr.png", tmp_path / "picture.jpg")
        assert names == (own, other)
