import json

import numpy as np
import pytest

from keras_mrisr import demo
from keras_mrisr.data import read_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.training import TrainingInterruptedError


@pytest.fixture
def tiny_models(monkeypatch, bundled):
    """In place of the bundled models."""
    monkeypatch.setattr("keras_mrisr.pretrained.FOLDER", bundled)


@pytest.fixture
def small(monkeypatch, smooth_image, request):
    """A template of 72x66x60 voxels, in slabs of 4 with gaps of 2, and two steps an epoch."""
    stack = [smooth_image(72, 66, dtype="float32", seed=seed)[..., 0] for seed in range(5)]
    weights = np.linspace(0, 4, 60)
    volume = np.stack(
        [stack[int(w)] * (1 - w % 1) + stack[min(4, int(w) + 1)] * (w % 1) for w in weights], -1
    )
    for name, value in {"FIRST": 4, "LAST": 56, "SLAB": 4, "GAP": 2, "STEPS": 2}.items():
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(demo, "HELD_OUT", {"validation": (4,), "test": (2, 7, 11)})
    monkeypatch.setattr(demo, "_template", lambda: 9000 * volume)
    return volume


def test_through_the_command(mrisr, small, tmp_path, listing):
    code, out, err = mrisr("demo", "--out", tmp_path / "demo", "--epochs", 1)
    assert (code, err) == (0, "")
    assert (
        out.index("This takes up to 3 min ")
        < out.index("zero-filled")
        < out.index("That was a bundled model")
        < out.index("Epoch 1: loss")
    )
    assert (
        "Note: in this demo slabs of 10 neighbouring slices of one template brain stand in for patients"
        in out
    )
    assert f"  mrisr upscale {tmp_path / 'demo'}/low-resolution my-upscaled --model" in out
    folder = tmp_path / "demo"
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo.txt", "evaluation", "low-resolution", "model", "pretrained", "slices", "upscaled"
    ]  # fmt: skip
    lr, sr = (read_image(folder / name / "axial-012.png") for name in ("low-resolution", "upscaled"))
    assert (lr.shape, sr.shape) == ((33, 36, 1), (66, 72, 1))
    assert (folder / "evaluation/figure.png").is_file()
    metrics = json.loads((folder / "evaluation/metrics.json").read_text())
    assert metrics["protocol"]["patients"] == ["slab-02", "slab-07", "slab-11"]
    assert metrics["protocol"]["images"] == len(listing(folder / "upscaled")) == 12
    assert "stand in for patients" in metrics["notes"][0]
    protocol = json.loads((folder / "pretrained/metrics.json").read_text())["protocol"]
    assert (protocol["degradation"]["name"], protocol["images"]) == ("kspace", 12)
    assert (folder / "pretrained/figure.png").is_file()

    # Again: nothing is trained, all is there.
    before = listing(folder / "model")
    code, out, err = mrisr("demo", "--out", folder, "--epochs", 1)
    assert (code, err) == (0, "")
    assert "is trained already; --overwrite trains it again" in out
    assert listing(folder / "model") == before
    columns = [line.split() for line in out.splitlines() if line.split()[:2] == ["slices", "bicubic"]]
    assert columns == 2 * [["slices", "bicubic", "slabs", "slices", "slabs"]]
    # With a file of somebody else's it is not replaced.
    (folder / "mine.txt").write_text("x")
    assert "holds mine.txt" in mrisr("demo", "--out", folder, "--overwrite")[2]
    assert listing(folder / "model") == before


def test_slices(small, tmp_path):
    demo._write_slices(small, tmp_path / "slices")
    slabs = {}
    for path in (tmp_path / "slices").rglob("*.png"):
        slabs.setdefault(path.parent.name, []).append(int(path.stem[-3:]))
    assert sorted(slabs["slab-02"]) == [12, 13, 14, 15]
    held_out = {z for slab in (2, 4, 7, 11) for z in slabs.pop(f"slab-{slab:02d}")}
    assert len(held_out) == 16
    trained = {z for slab in slabs.values() for z in slab}
    assert trained and min(abs(a - b) for a in trained for b in held_out) == 3
    # Anterior (high y) up; the first axis mirrored.
    top = np.percentile(small, 99.9)
    expected = np.clip(np.rint(small[::-1, ::-1, 12].T / top * 255), 0, 255)
    np.testing.assert_allclose(
        read_image(tmp_path / "slices/slab-02/axial-012.png")[..., 0], expected, atol=1
    )


def test_stopped_and_started_again(small, tiny_models, tmp_path, monkeypatch):
    class Stopper:
        def __call__(self, epoch, step, logs):
            if (epoch, step) == (1, 2):
                raise TrainingInterruptedError

    with pytest.raises(TrainingInterruptedError):
        demo.run_demo(tmp_path / "demo", epochs=2, report=Stopper())
    assert not (tmp_path / "demo/evaluation").exists()
    monkeypatch.setattr(demo, "_template", None)  # The slices are there.
    epochs, stages = [], []

    def progress(title):
        stages.append(title)
        return lambda done, total: stages.append((done, total))

    evaluation = demo.run_demo(
        tmp_path / "demo",
        epochs=2,
        report=lambda epoch, step, logs: epochs.append((epoch, step)),
        progress=progress,
    )
    assert epochs[-1] == (2, None)
    assert stages == 2 * ["Scoring slices", *((done, 12) for done in range(1, 13))]
    assert evaluation.protocol.images == 12
    assert all("patient" not in case.label for case in evaluation.cases)


def test_stopped_while_the_slices_are_written(small, bundled, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "write_image", fail)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path / "demo", epochs=1)
    monkeypatch.undo()
    monkeypatch.setattr("keras_mrisr.pretrained.FOLDER", bundled)
    monkeypatch.setattr(demo, "train", fail)
    monkeypatch.setattr(demo, "_template", lambda: np.ones((40, 30, 189), "float32"))
    with pytest.raises(KeyboardInterrupt):  # It gets as far as the training.
        demo.run_demo(tmp_path / "demo", epochs=1)
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["demo.txt", "pretrained", "slices"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else(small, tmp_path, listing, overwrite):
    (tmp_path / "slices/mine").mkdir(parents=True)
    (tmp_path / "slices/mine/1.png").write_text("x")
    before = listing(tmp_path)
    with pytest.raises(MrisrError, match="Choose another folder"):
        demo.run_demo(tmp_path, overwrite=overwrite)
    assert listing(tmp_path) == before


def test_the_template():
    """The real one, from nilearn: as the constants take it to be."""
    pytest.importorskip("nilearn")
    volume = demo._template()
    assert volume.shape == (197, 233, 189)
    brain = [(volume[..., z] > 0.2 * volume.max()).mean() for z in (demo.FIRST, demo.LAST - 1)]
    assert min(brain) > 0.03
