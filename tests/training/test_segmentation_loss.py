"""The segmentation-consistency loss in the adversarial stage."""

import csv
import json

import keras
import numpy as np
import pytest

from keras_mrisr.data import Split, read_dataset, split_patients
from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import SegmentationConsistencyLoss
from keras_mrisr.models.unet import segmentation_unet
from keras_mrisr.models.unet_storage import SegmenterInfo, save_unet
from keras_mrisr.training import train


@pytest.fixture(scope="module")
def save_untrained(tmp_path_factory):
    """A function (channels, split) that saves an untrained U-Net."""

    def save(channels=1, split=None):
        keras.utils.set_random_seed(0)
        folder = tmp_path_factory.mktemp("unet")
        unet = {"filters": 2, "depth": 1}
        info = SegmenterInfo(channels, unet, data={"split": split.to_dict()} if split else {})
        save_unet(folder, segmentation_unet(channels, **unet), info, "A card.\n")
        return folder

    return save


@pytest.fixture(scope="module")
def loss(save_untrained):
    return SegmentationConsistencyLoss(save_untrained())


def test_one_more_weighted_loss(make_gan, loss, batch, tmp_path):
    weights = {"adversarial": 0.0, "segmentation": 0.5}
    gan = make_gan(weights=weights, segmentation=loss)
    logs = gan.train_on_batch(*batch, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["pixel"] + 0.5 * logs["segmentation"], rel=1e-5)
    assert logs["segmentation"] > 0
    scores = gan.evaluate(*batch, verbose=0, return_dict=True)
    expected = float(loss(batch[1], gan(batch[0])))
    assert scores["segmentation"] == pytest.approx(expected, rel=1e-4)
    # The frozen U-Net is no part of the checkpoint, and is found again by its place.
    count = len(make_gan(weights={"adversarial": 0.0}).weights)
    assert len(gan.weights) == count
    gan.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    assert again.segmentation.model == loss.model
    np.testing.assert_allclose(again(batch[0]), gan(batch[0]), atol=1e-6)


def test_it_moves_the_generator(make_gan, loss, batch):
    moved = {}
    for weight in (0.0, 100.0):
        options = {"weights": {"adversarial": 0.0, "segmentation": weight}, "segmentation": loss}
        gan = make_gan(**options)
        before = float(loss(batch[1], gan.generator(batch[0])))
        for _ in range(4):
            gan.train_on_batch(*batch)
        moved[weight] = float(loss(batch[1], gan.generator(batch[0]))) / before
    assert moved[100.0] < moved[0.0]


def test_nothing_is_computed_without_a_weight(make_gan, batch):
    def never(*arguments):
        raise AssertionError

    never.call = never
    gan = make_gan(weights={"adversarial": 0.0}, segmentation=never)
    assert "segmentation" not in gan.train_on_batch(*batch, return_dict=True)


def test_a_weight_needs_a_loss(make_gan):
    with pytest.raises(MrisrError, match="needs segmentation=SegmentationConsistencyLoss"):
        make_gan(weights={"segmentation": 1.0})


def test_run(tiny_gan, save_untrained, image_root, tmp_path):
    split = split_patients(read_dataset(image_root).sites)
    model = save_untrained(split=split)
    others = ("perceptual", "adversarial", "consistency", "r1")  # Off: half of the time is their graph.
    config = tiny_gan(
        {
            **{f"adversarial.{name}_weight": 0.0 for name in others},
            "adversarial.pretraining": {},
            "adversarial.segmentation_weight": 0.1,
            "adversarial.segmentation_model": str(model),
            "training.epochs": 1,
        }
    )
    run = train(config, tmp_path / "run")
    [row] = csv.DictReader((run / "history.csv").read_text().splitlines())
    assert float(row["segmentation"]) > 0
    stored = json.loads((run / "model.json").read_text())["training"]["adversarial"]
    assert stored["segmentation_model"] == model.name  # No path of this machine.
    assert "0.1 segmentation" in (run / "card.md").read_text()


def test_u_nets_that_must_not_judge(tiny_gan, save_untrained, image_root, tmp_path, models):
    split = split_patients(read_dataset(image_root).sites)
    held_out = split.test[0]
    rest = [patient for patient in split.patients if patient != held_out]
    knows = Split(train=(held_out, *rest[2:]), val=(rest[0],), test=(rest[1],))
    for model, message in (
        (save_untrained(split=knows), r"was trained with \d patient\(s\) that this run holds out"),
        (save_untrained(channels=3, split=split), r"takes 3 channel\(s\), the data has 1"),
        (models["grey"], "is a super-resolution model"),
        (tmp_path / "nowhere", "No model at"),
    ):
        config = tiny_gan(
            {"adversarial.segmentation_weight": 0.1, "adversarial.segmentation_model": str(model)}
        )
        with pytest.raises(MrisrError, match=message):
            train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    with pytest.raises(MrisrError, match=r"segmentation_weight needs adversarial\.segmentation_model"):
        tiny_gan({"adversarial.segmentation_weight": 0.1})
