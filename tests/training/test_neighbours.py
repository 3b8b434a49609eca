"""Training with neighbouring slices, alone and against a discriminator."""

import numpy as np
import pytest

from keras_mrisr.data import read_dataset
from keras_mrisr.data.neighbours import middle_channels
from keras_mrisr.data.pipeline import load_pairs
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import psnr
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import load_info, load_trained
from keras_mrisr.training import train
from keras_mrisr.training.pairs import validation_pairs
from keras_mrisr.training.srgan import SRGAN, gan_optimizer


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
    return train(tiny({"data.neighbours": 1}), tmp_path_factory.mktemp("stacks") / "run")


def test_the_run_knows_its_neighbours(run):
    generator, info = load_trained(run)
    assert (info.channels, info.neighbours, info.input_channels) == (1, 1, 3)
    assert generator.input_shape[-1] == 3
    assert "3 adjacent slices" in (run / "card.md").read_text()
    assert load_trained(run / "last.keras")[1] == info


def test_scores_are_those_of_whole_stacks(run, image_root):
    generator, info = load_trained(run)
    dataset = read_dataset(image_root).select(info.data["split"]["val"])
    pairs = load_pairs(dataset, get_degradation(**info.degradation), neighbours=1)
    values = []
    for pair in pairs:
        sr = np.rint(np.clip(generator(pair.lr[np.newaxis] / np.float32(255)), 0, 1) * 255)
        values.append(float(psnr(pair.hr[np.newaxis], sr, data_range=255)[0]))
    assert info.metrics["val_psnr"] == pytest.approx(np.mean(values), abs=1e-3)


def test_few_validation_slices_keep_their_neighbours(tiny, image_root):
    dataset = read_dataset(image_root)
    config = tiny({"data.neighbours": 1, "training.validation_slices": 5})
    pairs = validation_pairs(config, dataset, get_degradation("bicubic", 2), 1)
    assert len(pairs) == 5
    whole = {pair.record: pair for pair in load_pairs(dataset, get_degradation("bicubic", 2), neighbours=1)}
    for pair in pairs:
        np.testing.assert_array_equal(pair.lr, whole[pair.record].lr)


def test_goes_on_from_a_generator_of_single_slices(tmp_path, tiny, finished_run):
    config = tiny({"data.neighbours": 2, "training.init": str(finished_run), "training.epochs": 1})
    generator, info = load_trained(train(config, tmp_path / "run"))
    assert info.neighbours == 2
    seen = generator.get_layer("input_conv").kernel.numpy()
    assert np.abs(seen[:, :, [0, 1, 3, 4]]).max() > 0, "the neighbours' zeros have learnt"


def test_adversarial_training(tmp_path, tiny_gan):
    without = {"adversarial.r1_weight": 0.0, "adversarial.instance_noise": 0.0, "training.epochs": 1}
    run = train(tiny_gan({"data.neighbours": 1, **without}), tmp_path / "gan")
    generator, info = load_trained(run)
    assert info.neighbours == 1 and generator.input_shape[-1] == 3
    assert load_info(run / "pretrained").neighbours == 1


def test_consistency_is_with_the_middle_slice(batch):
    lr, hr = batch
    model = SRGAN(
        build_generator("edsr", 2, 1, neighbours=1, blocks=1, filters=4),
        build_discriminator("srgan", channels=1, patch_size=16, filters=2, dense=4),
        weights={"consistency": 1.0, "adversarial": 0.0},
        degradation={"name": "bicubic", "scale": 2},
    )
    model.compile(gan_optimizer(model.generator, model.discriminator, 0.0, 0.0), run_eagerly=True)
    stack = np.concatenate([lr[::-1], lr, lr[:, ::-1]], axis=-1)
    logs = model.train_step((stack, hr))
    again = get_degradation("bicubic", 2)(model.generator(stack))
    expected = np.abs(again - middle_channels(stack, 1)).mean()
    assert float(logs["consistency"]) == pytest.approx(expected, rel=1e-5)


def test_a_model_with_more_neighbours_is_no_start(tmp_path, tiny, run):
    config = tiny({"training.init": str(run)})
    with pytest.raises(MrisrError, match=r"takes 1 neighbour.* Set data\.neighbours to 1 or more"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
