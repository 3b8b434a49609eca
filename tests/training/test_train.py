import csv
import json
import shutil

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from keras_mrisr.config import RunConfig, read_config
from keras_mrisr.data import Split, read_dataset, read_image, split_patients, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.models.storage import load_info, load_trained
from keras_mrisr.training import train
from keras_mrisr.training.strategy import training_precision


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def history(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def test_what_a_run_leaves(finished_run, tiny, image_root):
    names = files(finished_run)
    wanted = {
        "generator.keras",
        "last.keras",
        "model.json",
        "card.md",
        "config.yaml",
        "split.json",
        "history.csv",
        "curves.png",
        "samples.png",
    }
    assert wanted <= names
    events = [name for name in names if name.startswith("tensorboard/events.out.tfevents")]
    assert len(events) == 1
    backups = {name for name in names if name.startswith("backup/")}
    assert backups == {
        "backup/backup-00003-000000-end/model.weights.h5",
        "backup/backup-00003-000000-end/state.json",
    }
    assert names == wanted | set(events) | backups, "nothing else, no half-written file"

    with Image.open(finished_run / "samples.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    # Three slices, one above the other, of LR, cubic, SR and HR: mostly image, and not one grey.
    assert pixels.shape[1] > pixels.shape[0] > 600
    assert pixels.std() > 30
    with Image.open(finished_run / "curves.png") as picture:
        assert picture.size == (1200, 520)  # Four panels, three in a row.

    assert read_config(finished_run / "config.yaml", RunConfig()) == tiny()
    split = Split.from_dict(json.loads((finished_run / "split.json").read_text()))
    assert split.patients == read_dataset(image_root).patients

    rows = history(finished_run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) == {"epoch", "loss", "val_psnr", "val_ssim", "learning_rate"}
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 1e-9, "the cosine ends at zero"


def test_the_trained_model(finished_run, tiny, image_root):
    generator, info = load_trained(finished_run)
    config = tiny()
    assert (info.scale, info.channels, info.generator) == (2, 1, config.generator)
    assert info.degradation["name"] == "bicubic"
    assert info.data["root_name"] == image_root.name
    assert info.data["kind"] == "images"
    assert info.data["split"] == json.loads((finished_run / "split.json").read_text())
    rows = history(finished_run)
    best = max(rows, key=lambda row: float(row["val_psnr"]))
    assert info.metrics["epoch"] == int(best["epoch"])
    assert info.metrics["val_psnr"] == pytest.approx(float(best["val_psnr"]))
    assert str(tiny().training.epochs) in (finished_run / "card.md").read_text()
    last, _ = load_trained(finished_run / "last.keras")
    for model in (generator, last):
        assert not model.compiled
        assert model(np.zeros((1, 5, 6, 1), "float32")).shape == (1, 10, 12, 1)
    # No path of the machine travels with the model.
    for name in ("model.json", "card.md"):
        assert str(image_root.parent) not in (finished_run / name).read_text()


def test_scores_are_those_of_the_saved_model(finished_run, image_root):
    from keras_mrisr.degrade import get_degradation
    from keras_mrisr.metrics import psnr

    generator, info = load_trained(finished_run)
    degradation = get_degradation(**info.degradation)
    values = []
    for record in read_dataset(image_root).select(info.data["split"]["val"]).slices:
        hr = read_image(record.path)
        lr = degradation.degrade(hr)[np.newaxis].astype("float32") / 255
        sr = np.rint(np.clip(generator(lr), 0, 1) * 255)
        values.append(float(psnr(hr[np.newaxis], sr, data_range=255)[0]))
    assert info.metrics["val_psnr"] == pytest.approx(np.mean(values), abs=1e-3)
    assert info.metrics["slices"] == len(values)


def test_report(tmp_path, tiny):
    seen = []
    train(tiny({"training.epochs": 2}), tmp_path / "run", report=lambda *event: seen.append(event))
    steps = [(epoch, step) for epoch, step, _ in seen]
    assert steps == [(e, s) for e in (1, 2) for s in (1, 2, 3, 4, None)]
    assert "loss" in seen[0][2]
    assert "val_psnr" in seen[4][2]


def test_same_seed_same_model(tmp_path, tiny, finished_run, weights):
    again = train(tiny(), tmp_path / "again")
    np.testing.assert_allclose(weights(again / "last.keras"), weights(finished_run / "last.keras"), atol=1e-6)
    other = train(tiny({"training.seed": 1}), tmp_path / "other")
    assert np.abs(weights(other / "last.keras") - weights(finished_run / "last.keras")).max() > 1e-3


@pytest.mark.parametrize(
    "overrides",
    [
        {"generator": {"name": "srresnet", "blocks": 1, "filters": 4}, "training.loss": "mean_squared_error"},
        {"training.patch_size": 0, "training.augment": False, "training.schedule": "constant"},
        {"training.precision": "mixed_bfloat16", "training.clip_norm": 0.5, "training.loss": "psnr"},
        {"training.precision": "mixed_float16", "training.clip_norm": 0.5},
        {"training.precision": "auto"},
        {"scale": 4, "degradation": {"name": "bicubic", "round_8bit": True}, "training.validation_slices": 1},
    ],
    ids=["srresnet", "whole-slices", "bfloat16", "float16", "auto", "x4"],
)
def test_recipes(tmp_path, tiny, overrides):
    policy = keras.config.dtype_policy()
    config = tiny({"training.epochs": 1, "training.steps_per_epoch": 2, **overrides})
    run = train(config, tmp_path / "run")
    assert keras.config.dtype_policy() == policy
    for name in ("generator.keras", "last.keras"):
        model, info = load_trained(run / name)
        assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
        assert info.scale == config.scale
        assert info.training["precision"] == training_precision(config.training.precision)
        assert np.isfinite(info.metrics["val_psnr"])
        assert model(np.zeros((1, 8, 8, 1), "float32")).dtype == "float32"


def test_dataset_and_split_may_be_given(tmp_path, tiny, image_root):
    dataset = read_dataset(image_root)
    patients = dataset.patients
    split = Split(patients[:4], patients[4:6], patients[6:])
    config = tiny({"data.root": "", "training.epochs": 1})
    run = train(config, tmp_path / "run", dataset=dataset, split=split)
    _, info = load_trained(run)
    assert info.data["split"] == split.to_dict()
    assert info.training["train_slices"] == 12


# What must not start, and leaves nothing behind.


def test_bad_data_leaves_no_folder(tmp_path, tiny, image_root, smooth_image):
    out = tmp_path / "run"
    with pytest.raises(MrisrError, match="does not exist"):
        train(tiny({"data.root": str(tmp_path / "missing")}), out)
    shutil.copytree(image_root, tmp_path / "mixed")
    for patient in (tmp_path / "mixed").iterdir():
        write_image(patient / "colour.png", smooth_image(32, 32, 3))
    with pytest.raises(MrisrError, match="channels"):
        train(tiny({"data.root": str(tmp_path / "mixed")}), out)
    with pytest.raises(MrisrError, match="smaller than the patch of 64"):
        train(tiny({"training.patch_size": 64}), out)
    with pytest.raises(MrisrError, match="Unknown degradation"):
        train(tiny({"degradation.name": "blur"}), out)
    with pytest.raises(MrisrError, match="Unknown option 'depth'"):
        train(tiny({"generator.depth": 3}), out)
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed"]


def test_out_must_be_free(tmp_path, tiny):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("x")
    with pytest.raises(MrisrError, match="is a file"):
        train(tiny(), tmp_path / "file")
    with pytest.raises(MrisrError, match="not empty"):
        train(tiny(), tmp_path / "folder")
    with pytest.raises(MrisrError, match="not a training run; it is not overwritten"):
        train(tiny(), tmp_path / "folder", overwrite=True)
    with pytest.raises(MrisrError, match="not a writable folder"):
        train(tiny(), tmp_path / "file" / "run")
    assert files(tmp_path) == {"file", "folder/thesis.txt"}


def test_a_finished_run_is_not_trained_again(finished_run, tiny):
    before = files(finished_run)
    with pytest.raises(MrisrError, match=r"complete with 3 epochs\. .*more `epochs`.*`overwrite`"):
        train(tiny(), finished_run)
    with pytest.raises(MrisrError, match=r"is in its epoch 3: `epochs` must be at least that"):
        train(tiny({"training.epochs": 2}), finished_run)
    with pytest.raises(
        MrisrError, match=r"another config \(training\.batch_size: 4 there, 5 now\).*`training.init`"
    ):
        train(tiny({"training.batch_size": 5}), finished_run)
    assert files(finished_run) == before


def test_overwrite_deletes_nothing_but_a_run(tmp_path, tiny, finished_run, image_root):
    out = shutil.copytree(finished_run, tmp_path / "run")

    def refused(message, **changes):
        before = files(tmp_path)
        with pytest.raises(MrisrError, match=message):
            train(tiny({"training.epochs": 1, **changes}), out, overwrite=True)
        assert files(tmp_path) == before

    for init in (out, out / "last.keras"):
        refused(
            r"`training.init` .* lies in .*run, which `overwrite` would delete",
            **{"training.init": str(init)},
        )
    shutil.copytree(image_root, out / "data")
    refused(r"`data.root` .* lies in .*run, which", **{"data.root": str(out / "data")})
    refused("holds data, which no training wrote; it is not overwritten")
    shutil.rmtree(out / "data")
    (out / "notes.txt").write_text("weeks of thought")
    refused("holds notes.txt, which no training wrote")
    for path in out.iterdir():
        if path.name != "config.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(r"holds a config\.yaml and no training run; it is not overwritten")
    (out / "config.yaml").write_text("scale: 2\n")
    refused(r"holds a config\.yaml and no training run; it is not overwritten")


def test_overwrite(tmp_path, tiny, finished_run):
    out = tmp_path / "run"
    shutil.copytree(finished_run, out)
    before = files(out)
    # An error in the new run's data costs nothing of the old one.
    with pytest.raises(MrisrError, match="does not exist"):
        train(tiny({"data.root": "nowhere"}), out, overwrite=True)
    assert files(out) == before
    config = tiny({"training.epochs": 1, "training.steps_per_epoch": 1, "data.split_seed": 5})
    train(config, out, overwrite=True)
    assert yaml.safe_load((out / "config.yaml").read_text())["training"]["epochs"] == 1
    assert json.loads((out / "split.json").read_text())["seed"] == 5
    assert len(history(out)) == 1
    assert len(list((out / "tensorboard").iterdir())) == 1


def test_init(tmp_path, tiny, finished_run, weights):
    # A rate of almost nothing: what comes out is what went in.
    small = {"training.learning_rate": 1e-12, "training.epochs": 1, "training.steps_per_epoch": 1}
    for name in ("generator.keras", "last.keras"):
        config = tiny({**small, "training.init": str(finished_run / name)})
        run = train(config, tmp_path / name)
        np.testing.assert_allclose(weights(run / "last.keras"), weights(finished_run / name), atol=1e-9)
    # The defaults may be written out.
    spelled = tiny({**small, "training.init": str(finished_run), "generator.global_skip": True})
    train(spelled, tmp_path / "spelled")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"scale": 4}, "at scale 2, this run is .* at scale 4"),
        ({"generator.filters": 8}, "'filters': 4.* this run is .*'filters': 8"),
        ({"generator.global_skip": False}, "this run is"),
        ({"generator": {"name": "srresnet", "blocks": 1}}, "this run is .*srresnet"),
        ({"training.init": "nowhere"}, "No model at nowhere"),
    ],
    ids=["scale", "filters", "skip", "generator", "missing"],
)
def test_init_from_another_kind_of_model(tmp_path, tiny, finished_run, overrides, message):
    config = tiny({"training.init": str(finished_run), **overrides})
    with pytest.raises(MrisrError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_init_is_checked_before_the_data(tmp_path, tiny):
    config = tiny({"training.init": "nowhere", "data.root": str(tmp_path / "none")})
    with pytest.raises(MrisrError, match="No model at nowhere"):
        train(config, tmp_path / "run")


def test_init_that_knows_who_is_held_out(tmp_path, tiny, finished_run):
    config = tiny({"training.init": str(finished_run), "data.split_seed": 1, "training.epochs": 1})
    sites = read_dataset(config.data.root).sites
    other = split_patients(sites, 1, config.data.validation_fraction, config.data.test_fraction)
    with pytest.raises(MrisrError, match=r"training\.init: .* trained with \d patient.* that this run holds"):
        train(config, tmp_path / "run", split=other)
    assert not (tmp_path / "run").exists()
    kept = load_info(train(config, tmp_path / "run")).data["split"]
    before = load_info(finished_run).data["split"]
    assert kept["train"] != list(other.train) and kept["seed"] == 1
    assert {part: kept[part] for part in ("train", "val", "test")} == {
        part: before[part] for part in ("train", "val", "test")
    }


def test_init_from_other_channels(tmp_path, tiny, finished_run, smooth_image):
    for patient in range(4):
        (tmp_path / f"p{patient}").mkdir()
        write_image(tmp_path / f"p{patient}" / "0.png", smooth_image(32, 32, 3, seed=patient))
    config = tiny({"training.init": str(finished_run), "data.root": str(tmp_path)})
    with pytest.raises(MrisrError, match="has 1 channels, the data 3"):
        train(config, tmp_path / "run")


# What goes wrong on the way.


def test_divergence_keeps_the_best_model(tmp_path, tiny, monkeypatch):
    from keras_mrisr.data.pipeline import PatchDataset

    make = PatchDataset.__getitem__

    def poisoned(self, index):
        lr, hr = make(self, index)
        return (lr, hr * np.nan) if (self.epoch, index) == (1, 2) else (lr, hr)

    monkeypatch.setattr(PatchDataset, "__getitem__", poisoned)
    with pytest.raises(
        MrisrError, match=r"The loss became nan in epoch 2, step 3: training diverged"
    ) as caught:
        train(tiny(), tmp_path / "run")
    assert "\n" not in str(caught.value)
    generator, info = load_trained(tmp_path / "run")
    assert info.metrics["epoch"] == 1
    assert np.isfinite(np.asarray(generator(np.ones((1, 8, 8, 1), "float32")))).all()


def test_divergence_in_the_last_step_is_seen_too(tmp_path, tiny):
    # The loss is that of before the step: only the scoring sees what the step did.
    config = tiny(
        {"training.learning_rate": 1e38, "training.steps_per_epoch": 1, "training.schedule": "constant"}
    )
    with pytest.raises(MrisrError, match="The output became not finite in epoch 1"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "generator.keras").exists()
