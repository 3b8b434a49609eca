import csv
import json
import shutil
import signal

import keras
import numpy as np
import pytest

from keras_mrisr.data import read_dataset, split_patients, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.models.storage import load_trained
from keras_mrisr.models.unet_storage import load_unet
from keras_mrisr.segmentation import train_segmenter
from keras_mrisr.segmentation.train import compiled_unet
from keras_mrisr.training import TrainingInterruptedError


def history(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def test_run_directory(unet_run, lesion_root):
    unet, info = load_unet(unet_run)
    assert (info.channels, info.unet) == (1, {"filters": 4, "depth": 1})
    rows = history(unet_run)
    best = max(float(row["val_dice"]) for row in rows)
    assert best > 0.8  # It has learned what a bright disc is.
    assert info.metrics["val_dice"] == best
    assert rows[info.metrics["epoch"] - 1]["val_dice"] == str(best)
    # The split of a super-resolution run on the same data.
    expected = split_patients(read_dataset(lesion_root).sites).to_dict()
    assert json.loads((unet_run / "split.json").read_text()) == expected == info.data["split"]
    assert str(lesion_root) not in (unet_run / "model.json").read_text()
    card = (unet_run / "card.md").read_text()
    assert f"| validation | Dice {best:.4f}" in card
    assert f"{unet.count_params():,} parameters" in card
    assert (unet_run / "last.keras").is_file()
    assert any((unet_run / "tensorboard").iterdir())


def test_a_stopped_run_goes_on_with_the_same_numbers(tmp_path, tiny_config, unet_run):
    def stop(epoch, step, logs):
        if (epoch, step) == (2, 7):
            signal.raise_signal(signal.SIGINT)

    run = tmp_path / "run"
    with pytest.raises(TrainingInterruptedError):
        train_segmenter(tiny_config(), run, report=stop)
    assert json.loads(next(run.glob("backup/*/state.json")).read_text())["step"] == 7
    seen = []
    train_segmenter(tiny_config(), run, report=lambda *call: seen.append(call[:2]))
    assert seen[0] == (2, 8)
    for row, expected in zip(history(run), history(unet_run), strict=True):
        assert float(row["val_dice"]) == pytest.approx(float(expected["val_dice"]), abs=0.02)
    with pytest.raises(MrisrError, match="holds this run already, complete"):
        train_segmenter(tiny_config(), run)


def test_half_precision_is_for_training_only(tiny_config):
    model = compiled_unet(tiny_config({"training.precision": "mixed_bfloat16"}), 1)
    assert model.get_layer("down1_conv1").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.optimizer.global_clipnorm is None


def test_runs_of_another_kind_are_left_alone(tmp_path, tiny_config, unet_run, models):
    from keras_mrisr.config import RunConfig
    from keras_mrisr.training.directory import open_run

    with pytest.raises(MrisrError, match=r"cannot be resumed \(.*Unknown config key 'unet'"):
        open_run(RunConfig(), unet_run)
    with pytest.raises(MrisrError, match=r"is a super-resolution model\. Give a U-Net"):
        load_unet(models["grey"])
    with pytest.raises(MrisrError, match="is a U-Net, which mrisr segment takes"):
        load_trained(unet_run)


def test_broken_models(tmp_path, unet_run):
    shutil.copytree(unet_run, tmp_path / "run", ignore=shutil.ignore_patterns("backup", "tensorboard"))
    run = tmp_path / "run"
    info = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps({**info, "channels": 3}))
    with pytest.raises(MrisrError, match=r"maps 1 channel\(s\) to 1, but its model.json says 3"):
        load_unet(run)
    (run / "unet.keras").write_bytes(b"no model")
    with pytest.raises(MrisrError, match=r"unet\.keras cannot be loaded"):
        load_unet(run)
    (run / "unet.keras").unlink()
    with pytest.raises(MrisrError, match=r"run holds no unet\.keras: the run has not saved a model yet"):
        load_unet(run)


def test_validation_needs_finite_weights(tiny_config, unet_run):
    from keras_mrisr.segmentation import Segmenter
    from keras_mrisr.segmentation.train import DiceValidation

    validation = DiceValidation(Segmenter.load(unet_run), [])
    model = keras.models.clone_model(validation.segmenter.unet)
    model.get_layer("logits").set_weights([np.full((1, 1, 4, 1), np.nan), np.zeros(1)])
    validation.set_model(model)
    with pytest.raises(MrisrError, match="The weights became not finite in epoch 3"):
        validation.on_epoch_end(2, {})


def test_empty_validation_masks_are_found_first(tmp_path, tiny_config, lesion_root):
    dataset = read_dataset(lesion_root)
    shutil.copytree(lesion_root, tmp_path / "data")
    for patient in split_patients(dataset.sites).val:
        for path in (tmp_path / "data" / patient).glob("*_mask.png"):
            write_image(path, np.zeros((32, 32), "uint8"))
    with pytest.raises(MrisrError, match=r"masks of all \d validation patients are empty"):
        train_segmenter(tiny_config({"data.root": str(tmp_path / "data")}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
