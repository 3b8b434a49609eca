import pytest

from keras_mrisr.config import RunConfig, read_config, write_config
from keras_mrisr.errors import MrisrError
from keras_mrisr.segmentation import SEGMENTATION_PRESETS, SegmentationConfig, segmentation_preset


@pytest.mark.parametrize("name", SEGMENTATION_PRESETS)
def test_presets_and_round_trip(name, tmp_path):
    config = segmentation_preset(name)
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", SegmentationConfig()) == config
    assert config.data == RunConfig().data  # The same patients are held out as of super-resolution.


@pytest.mark.parametrize(
    "key,value,message",
    [
        ("training.lesion_share", 1.5, "training.lesion_share must be 0 or more, at most 1. Received: 1.5"),
        ("training.epochs", 0, "training.epochs must be 1 or more"),
        ("training.dice_weight", -1, "training.dice_weight must be 0 or more"),
        ("training.seed", -1, "training.seed must be 0 or more"),
        ("training.learning_rate", 0, "training.learning_rate must be more than 0"),
        ("training.precision", "half", "training.precision must be one of float32"),
        ("training.loss", "mse", "Unknown config key 'training.loss'"),
        ("unet.width", 3, "Unknown config key 'unet.width'. Known here: filters, depth."),
        ("scale", 2, "Unknown config key 'scale'"),
        ("epoch", 2, "Did you mean 'training.epochs'?"),
        ("data.kind", "volumes", "data.kind must be one of auto, lgg, images"),
        ("data.neighbours", 1, "data.neighbours must be 0 for a segmentation"),
    ],
)
def test_bad_values_name_the_key(key, value, message):
    with pytest.raises(MrisrError) as caught:
        SegmentationConfig().replace({key: value})
    assert message in str(caught.value)


def test_unknown_preset():
    with pytest.raises(MrisrError, match=r"Unknown preset 'paper'\. Known: compact, full"):
        segmentation_preset("paper")
