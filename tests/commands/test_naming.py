import pytest

from keras_mrisr.commands.naming import named_paths, parse_features, single_name
from keras_mrisr.errors import MrisrError


def test_names_of_paths(tmp_path):
    (tmp_path / "a=b").mkdir()
    words = ["A=runs/x", "runs/y", "runs/z/", str(tmp_path / "a=b"), "runs/q/last.keras", "r/generator.keras"]
    assert named_paths(words) == {
        "A": "runs/x",
        "y": "runs/y",
        "z": "runs/z/",
        "a=b": str(tmp_path / "a=b"),
        "q-last": "runs/q/last.keras",
        "r": "r/generator.keras",
    }
    assert named_paths([]) == {}
    # Also of what is not there (yet): the equals sign belongs to the name only before the first slash.
    assert named_paths(["runs/fold=1/x", "A=runs/fold=2"]) == {"x": "runs/fold=1/x", "A": "runs/fold=2"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["=runs/x"], "NAME=PATH"),
        (["A="], "NAME=PATH"),
        (["A=runs/x", "A=runs/y"], "Two are called 'A': runs/x and runs/y"),
        (["one/x", "two/x"], "Two are called 'x'"),
    ],
)
def test_bad_names(words, message):
    with pytest.raises(MrisrError, match=message):
        named_paths(words)


def test_a_single_model_is_called_sr():
    assert single_name(["runs/x"], {"x": "runs/x"}) == {"SR": "runs/x"}
    assert single_name(["A=runs/x"], {"A": "runs/x"}) == {"A": "runs/x"}
    assert single_name(["runs/x"], {"x": "runs/x"}, {"tool": "images"}) == {"x": "runs/x"}
    assert single_name([], {}) == {}


def test_feature_networks():
    assert parse_features(None) is None
    assert parse_features("vgg19:imagenet") == {"network": "vgg19", "weights": "imagenet"}
    assert parse_features("vgg19:none") == {"network": "vgg19", "weights": None}
    assert parse_features("vgg16:a:b.h5:block3_conv1") == {
        "network": "vgg16",
        "weights": "a:b.h5",
        "layers": "block3_conv1",
    }
    for text in ("vgg16", "vgg16:"):
        with pytest.raises(MrisrError, match="NETWORK:WEIGHTS"):
            parse_features(text)
