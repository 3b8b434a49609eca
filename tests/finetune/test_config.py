import re

import pytest

from keras_mrisr.config import RunConfig, read_config, write_config
from keras_mrisr.errors import MrisrError
from keras_mrisr.finetune import FinetuneConfig


def test_yaml_round_trip(tmp_path):
    config = FinetuneConfig().replace(
        {"labels": ["sequence"], "trainable": ["block5"], "weights": None, "training.epochs": 2}
    )
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", FinetuneConfig()) == config
    assert FinetuneConfig().data == RunConfig().data, "the split of `mrisr train`"


@pytest.mark.parametrize("word", ["none", "None", "null"])
def test_words_for_no_weights(word):
    assert FinetuneConfig().replace({"weights": word}).weights is None
    features = RunConfig().replace({"adversarial.features.weights": word}).adversarial.features
    assert features == {"network": "vgg19", "weights": None}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"network": "vgg11"}, "network must be one of vgg16, vgg19. Received: 'vgg11'"),
        ({"labels": []}, "labels must be some of tumour, sequence. Received: []"),
        ({"labels": ["grade"]}, "labels must be some of tumour, sequence. Received: ['grade']"),
        ({"labels": ["tumour", "tumour"]}, "labels must be some of"),
        ({"trainable": ["block6"]}, "trainable must be some of block1, block2"),
        ({"trainable": "block5"}, "trainable must be of type list"),
        ({"data.kind": "volumes"}, "data.kind must be one of auto, lgg, images"),
        ({"data.neighbours": 1}, "data.neighbours must be 0 for feature networks"),
        ({"training.image_size": 16}, "training.image_size must be 32 or more"),
        ({"training.smallest_crop": 0}, "training.smallest_crop must be more than 0, at most 1"),
        ({"training.learning_rate": 0}, "training.learning_rate must be more than 0"),
        ({"training.precision": "mixed_float16"}, "training.precision must be one of float32, mixed_bfl"),
        ({"training.loss": "hinge"}, "Unknown config key 'training.loss'"),
    ],
)
def test_bad_values(overrides, message):
    with pytest.raises(MrisrError, match=re.escape(message)):
        FinetuneConfig().replace(overrides)
