"""Starting a generator from a trained one."""

import numpy as np
import pytest

from keras_mrisr.config import RunConfig
from keras_mrisr.data.neighbours import stack_around
from keras_mrisr.errors import MrisrError
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


def config_with(trained, blocks, neighbours=0):
    generator = {"name": trained[1].name, "blocks": blocks, "filters": 4}
    return RunConfig.from_dict({"generator": generator, "data": {"neighbours": neighbours}})


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
    with pytest.raises(MrisrError, match=r"training\.init: .* only blocks may be more"):
        start_from(config, trained[0], build_generator(scale=2, channels=1, **config.generator))


@pytest.mark.parametrize("trained", ["edsr", "srresnet"], indirect=True)
def test_a_generator_with_neighbours_starts_as_the_same_function(trained, tmp_path):
    directory, generator = trained
    slices = np.random.default_rng(1).random((3, 9, 7, 1), dtype="float32")
    for neighbours in (1, 2):
        config = config_with(trained, 1, neighbours)
        wider = build_generator(scale=2, channels=1, neighbours=neighbours, **config.generator)
        start_from(config, directory, wider)
        stack = stack_around(slices, 1, neighbours)[np.newaxis]
        np.testing.assert_allclose(wider(stack), generator(slices[1:2]), rtol=1e-5, atol=1e-5)
        # From one neighbour to two on the second round.
        info = ModelInfo(2, 1, config.generator, {"name": "bicubic", "scale": 2}, neighbours=neighbours)
        directory = tmp_path / f"wider{neighbours}"
        save_trained(directory, wider, info, "card")
    with pytest.raises(MrisrError, match=r"takes 2 neighbour.* this run 1\. Set data\.neighbours to 2"):
        start_from(config_with(trained, 1, 1), directory, build_generator(
            scale=2, channels=1, neighbours=1, **config.generator
        ))  # fmt: skip


@pytest.mark.parametrize("trained", ["edsr"], indirect=True)
def test_thin_layers_and_later_their_noise_start_with_adding_nothing(trained, tmp_path):
    directory, expected = trained
    lr = np.random.default_rng(1).random((1, 9, 7, 1), dtype="float32")
    for number, grown in enumerate(({"thin_layers": 2, "thin_filters": 4}, {"thin_noise": 2})):
        config = config_with(trained, 1)
        config = config.replace({f"generator.{key}": value for key, value in grown.items()})
        if number:
            config = config.replace({"generator.thin_layers": 2, "generator.thin_filters": 4})
        larger = build_generator(scale=2, channels=1, **config.generator)
        start_from(config, directory, larger)
        np.testing.assert_allclose(larger(lr), expected(lr), atol=1e-6)
        # Trained until it adds something.
        for layer in larger.layers:
            if layer.name.startswith("thin_") and "noise" not in layer.name:
                layer.set_weights([weight + 0.1 for weight in layer.get_weights()])
        info = ModelInfo(2, 1, config.generator, {"name": "bicubic", "scale": 2})
        directory, expected = tmp_path / f"larger{number}", larger
        save_trained(directory, larger, info, "card")
    assert np.abs(np.asarray(expected(lr)) - np.asarray(trained[1](lr))).max() > 0.01


@pytest.mark.parametrize("trained", ["edsr"], indirect=True)
@pytest.mark.parametrize("option", ["smooth_upsampling", "direct_upsampling"])
def test_another_upsampling_is_learnt_anew(trained, option, caplog):
    directory, generator = trained
    config = config_with(trained, 2).replace({f"generator.{option}": True})
    other = build_generator(scale=2, channels=1, **config.generator)
    before = other.get_layer("output_conv").get_weights()
    with caplog.at_level("INFO"):
        start_from(config, directory, other)
    assert "learnt from nothing" in caplog.text
    for name in ("input_conv", "block1_conv1", "block1_conv2", "body_conv"):
        for ours, theirs in zip(
            other.get_layer(name).get_weights(), generator.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.any(other.get_layer("block2_conv2").kernel)
    kept = before if option == "direct_upsampling" else generator.get_layer("output_conv").get_weights()
    np.testing.assert_array_equal(other.get_layer("output_conv").get_weights()[0], kept[0])


@pytest.mark.parametrize("trained", ["edsr"], indirect=True)
def test_channels_are_not_taken_for_neighbours(trained):
    config = config_with(trained, 1)
    with pytest.raises(MrisrError, match=r"has 1 channels, the data 3"):
        start_from(config, trained[0], build_generator(scale=2, channels=3, **config.generator))


def test_a_volume_generator_starts_from_its_like(tmp_path):
    options = {"name": "srresnet3d", "blocks": 1, "filters": 4}
    data = {"scale": [1, 1, 2], "degradation": {"name": "slice-profile"}, "generator": options}
    trained = build_generator(scale=(1, 1, 2), channels=1, **options)
    info = ModelInfo(2, 1, options, {"name": "slice-profile", "scale": [1, 1, 2]}, factors=(1, 1, 2))
    save_trained(tmp_path / "trained", trained, info, "card")
    config = RunConfig.from_dict({**data, "generator": {**options, "blocks": 2}})
    deeper = build_generator(scale=config.scale, channels=1, **config.generator)
    start_from(config, tmp_path / "trained", deeper)
    np.testing.assert_array_equal(
        deeper.get_layer("input_conv").kernel, trained.get_layer("input_conv").kernel
    )
    other = RunConfig.from_dict({**data, "scale": [1, 1, 4], "training": {"patch_slices": 16}})
    with pytest.raises(MrisrError, match=r"at scale 1x1x2, this run .* at scale 1x1x4"):
        start_from(other, tmp_path / "trained", build_generator(scale=(1, 1, 4), channels=1, **options))
