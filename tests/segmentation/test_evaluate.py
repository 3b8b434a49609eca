import io
import json
import shutil

import numpy as np
import pytest

from keras_mrisr.data import Split, read_dataset, read_image, write_image
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.segmentation import Segmenter, evaluate_segmentation
from keras_mrisr.segmentation.scores import score_patient


@pytest.fixture(scope="module")
def evaluation(unet_run, sr_run, lesion_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation") / "out"
    return evaluate_segmentation(unet_run, lesion_root, {"ours": sr_run}, out), out


def test_every_method_is_scored_on_its_own_images(evaluation, unet_run, sr_run, lesion_root):
    found, _ = evaluation
    split = Split.from_dict(json.loads((unet_run / "split.json").read_text()))
    assert found.protocol["patients"] == list(split.test)
    segmenter, resolver = Segmenter.load(unet_run), SuperResolver.load(sr_run)
    degradation = get_degradation("bicubic", 2)
    records = read_dataset(lesion_root).select(split.test).slices
    hr = [read_image(record.path) for record in records]
    lr = [degradation.degrade(image) for image in hr]
    images = {
        "HR": hr,
        "bicubic": [interpolate(one, 2, "bicubic") for one in lr],
        "ours": [resolver(one) for one in lr],
    }
    truth = np.stack([read_image(record.mask)[..., 0] > 0 for record in records])
    expected = [
        score_patient(records, method, truth, np.stack(segmenter(stack))) for method, stack in images.items()
    ]
    assert list(found.scores) == expected
    assert expected[0].dice > 0.7


def test_files(evaluation, lesion_root):
    found, out = evaluation
    assert sorted(path.name for path in out.iterdir()) == [
        "overlay.png", "per_patient.csv", "segmentation.json",
    ]  # fmt: skip
    stored = json.loads((out / "segmentation.json").read_text())
    assert stored == json.loads(json.dumps(found.to_dict()))
    assert [row["method"] for row in stored["summary"]] == ["HR", "bicubic", "ours"]
    assert [row["method"] for row in stored["patients"]] == ["HR", "bicubic", "ours"]
    assert stored["summary"][0]["low"] is None  # Of one patient there is no interval.
    assert stored["protocol"]["degradation"]["name"] == "bicubic"
    assert len((out / "per_patient.csv").read_text().splitlines()) == 4
    assert read_image(out / "overlay.png").shape[1] > 3 * 350


def test_report(evaluation):
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(evaluation[0].report())
    text = console.export_text()
    assert "two empty masks are 1" in text
    assert "x2, degradation bicubic" in text
    assert "nan" not in text


def test_originals_only(unet_run, lesion_root):
    found = evaluate_segmentation(unet_run, lesion_root, figure_cases=0)
    assert [row.method for row in found.summary] == ["HR"]
    assert found.protocol["degradation"] is None
    assert found.cases == ()


def test_patients_that_a_model_saw_are_refused(unet_run, lesion_root, save_model, tmp_path):
    split = json.loads((unet_run / "split.json").read_text())
    [test], train = split["test"], split["train"]
    other = Split(train=(test, *train[2:]), val=(train[0],), test=(train[1],))
    save_model(tmp_path / "other", split=other)
    with pytest.raises(MrisrError, match="No patient is in the part 'test' of every model"):
        evaluate_segmentation(unet_run, lesion_root, {"other": tmp_path / "other"})
    seen = Split(train=tuple(train), val=(test,), test=("elsewhere",))
    save_model(tmp_path / "seen", split=seen)
    with pytest.raises(MrisrError, match="No patient is in the part 'all-unseen' of every model"):
        evaluate_segmentation(unet_run, lesion_root, {"seen": tmp_path / "seen"}, part="all-unseen")


class Bright:
    """Stands in for a U-Net of three channels: what is bright is a lesion."""

    channels = 3

    def __init__(self, info):
        self.info = info

    def __call__(self, slices, largest=False):
        return [image.mean(axis=-1) > 150 for image in slices]


def test_a_model_for_any_channels_serves_a_u_net_of_three(unet_run, sr_run, lesion_root, tmp_path):
    for path in lesion_root.rglob("*.png"):
        image = read_image(path)
        grey = path.stem.endswith("_mask")
        write_image(tmp_path / "data" / path.relative_to(lesion_root), image if grey else image.repeat(3, -1))
    shutil.copytree(sr_run, tmp_path / "sr")
    info = json.loads((tmp_path / "sr/model.json").read_text())
    info["data"]["separate_channels"] = True
    (tmp_path / "sr/model.json").write_text(json.dumps(info))
    unet = Bright(Segmenter.load(unet_run).info)
    found = evaluate_segmentation(unet, tmp_path / "data", {"ours": tmp_path / "sr"}, tmp_path / "out")
    assert [row.method for row in found.summary] == ["HR", "bicubic", "ours"]
    assert found.cases[0].columns["ours"][0].shape == (32, 32, 3)


def test_models_that_do_not_fit(unet_run, sr_run, lesion_root, models, save_model, tmp_path):
    split = Split.from_dict(json.loads((unet_run / "split.json").read_text()))
    four = save_model(tmp_path / "four", scale=4, split=split)
    colour = save_model(tmp_path / "colour", channels=3, split=split)
    blurred = save_model(tmp_path / "blurred", split=split)
    info = json.loads((blurred / "model.json").read_text())
    info["degradation"] = get_degradation("paper", 2).to_dict()
    (blurred / "model.json").write_text(json.dumps(info))
    for others, message in (
        ({"a": sr_run, "b": four}, r"a and b differ in scale \(x2 and x4\)"),
        ({"a": colour}, r"colour makes 3 channel\(s\), the U-Net takes 1"),
        ({"a": sr_run, "b": blurred}, "they do different tasks"),
        ({"HR": sr_run}, "the name 'HR' is taken"),
        ({"U-Net": sr_run}, "the name 'U-Net' is taken"),
        ({"a": unet_run}, "is a U-Net, which mrisr segment takes"),
    ):
        with pytest.raises(MrisrError, match=message):
            evaluate_segmentation(unet_run, lesion_root, others, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(MrisrError, match="Unknown part 'val'"):
        evaluate_segmentation(unet_run, lesion_root, part="val")


def test_slices_need_masks(unet_run, lesion_root, tmp_path):
    shutil.copytree(lesion_root, tmp_path / "data")
    [test] = json.loads((unet_run / "split.json").read_text())["test"]
    (tmp_path / "data" / test / "1_mask.png").unlink()
    with pytest.raises(MrisrError, match=r"1\.png has no mask \(1 of 4 slices.*put 1_mask beside it"):
        evaluate_segmentation(unet_run, tmp_path / "data")


def test_a_bad_slice_leaves_out_its_patient(unet_run, lesion_root, tmp_path, caplog):
    data = shutil.copytree(lesion_root, tmp_path / "data")
    split = json.loads((unet_run / "split.json").read_text())
    bad, *others = sorted([*split["val"], *split["test"]])
    (data / bad / "2.png").write_text("no image")
    evaluation = evaluate_segmentation(unet_run, data, part="held-out", figure_cases=0)
    assert evaluation.protocol["patients"] == others
    [failure] = evaluation.failures
    assert "2.png is not a PNG" in failure.reason and failure.reason in caplog.text
    assert f"Not scored: {failure.reason}" in evaluation.notes
    for patient in others:
        (data / patient / "2.png").write_text("no image")
    with pytest.raises(DataError, match=r"2\.png is not a PNG"):
        evaluate_segmentation(unet_run, data, part="held-out", figure_cases=0)
