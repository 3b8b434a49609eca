"""Starting a generator from a trained one."""

import numpy as np
import pytest

from keras_mrisr.config import RunConfig
from keras_mrisr.errors import InputError
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import ModelInfo, save_trained
from keras_mrisr.training.generator import start_from


@pytest.fixture
def trained(tmp_path, request):
    """(directory, generator) of a model with one block and random weights everywhere."""
    options = {"name": request.param, "blocks": 1, "filters": 4}
    generator = build_generator(scale=2, channels=1, **options)
    rng = np.random.default_rng(0)
    generator.set_weights([rng.uniform(0.1, 0.3, w.shape).astype("float32") for w in generator.get_weights()])
    info = ModelInfo(scale=2, channels=1, generator=options, degradation={"name": "bicubic", "scale": 2})
    save_trained(tmp_path / "trained", generator, info, "card")
    return tmp_path / "trained", generator


def config_with(trained, blocks):
    return RunConfig.from_dict({"generator": {"name": trained[1].name, "blocks": blocks, "filters": 4}})


@pytest.mark.parametrize("trained", ["edsr", "srresnet"], indirect=True)
def test_a_deeper_generator_starts_as_the_same_function(trained):
    directory, generator = trained
    config = config_with(trained, blocks=3)
    deeper = build_generator(scale=2, channels=1, **config.generator)
    start_from(config, directory, deeper)
    lr = np.random.default_rng(1).random((2, 9, 7, 1), dtype="float32")
    np.testing.assert_allclose(deeper(lr), generator(lr), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trained", ["edsr"], indirect=True)
def test_a_shallower_generator_cannot_start_from_a_deeper_one(trained):
    deeper, info = (
        build_generator("edsr", 2, 1, blocks=2, filters=4),
        {"name": "edsr", "blocks": 2, "filters": 4},
    )
    save_trained(
        trained[0],
        deeper,
        ModelInfo(scale=2, channels=1, generator=info, degradation={"name": "bicubic", "scale": 2}),
        "card",
    )
    config = config_with(trained, blocks=1)
    with pytest.raises(InputError, match=r"training\.init: .* only blocks may be more"):
        start_from(config, trained[0], build_generator(scale=2, channels=1, **config.generator))
