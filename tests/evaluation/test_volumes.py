"""The evaluation of models on NIfTI volumes, and of models of volumes."""

import functools
import json

import nibabel
import numpy as np
import pytest

from keras_mrisr.cli import main
from keras_mrisr.data import read_dataset
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import evaluate_model, evaluate_models
from keras_mrisr.evaluation.slices import SliceReader
from keras_mrisr.evaluation.volumes import (
    INTERPOLATIONS,
    StackInterpolator,
    StackReader,
    make_model,
    read_8bit,
)
from keras_mrisr.metrics import psnr
from keras_mrisr.models import build_generator
from keras_mrisr.models.storage import ModelInfo, save_trained

SIZE = (24, 20, 7)
SPACING = (1.0, 1.0, 3.0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory, smooth_image):
    """Three NIfTI volumes of 24x20x7; the slices of the last one lie across its first axis."""
    root = tmp_path_factory.mktemp("scans")
    for patient in range(3):
        planes = [smooth_image(24, 20, 1, seed=7 * patient + z)[..., 0] for z in range(7)]
        values = np.stack(planes, axis=2).astype("int16") * 9
        affine = np.diag([*SPACING, 1.0])
        if patient == 2:
            values, affine = np.moveaxis(values, 2, 0), np.diag([3.0, 1.0, 1.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(values, affine), root / f"sub-{patient}.nii.gz")
    return root


def saved(folder, name, scale, degradation, **options):
    """An untrained model directory for one channel."""
    factors = scale if isinstance(scale, tuple) else ()
    generator = {"name": name, "blocks": 1, "filters": 4, **options}
    info = ModelInfo(
        max(factors) if factors else scale, 1, generator,
        get_degradation(degradation, scale).to_dict(), factors=factors,
    )  # fmt: skip
    save_trained(folder, build_generator(scale=scale, channels=1, **generator), info, "Untrained.\n")
    return folder


@pytest.fixture(scope="module")
def model_3d(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model3d") / "run", "srresnet3d", (1, 1, 2), "slice-profile")


@pytest.fixture(scope="module")
def model_2d(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model2d") / "run", "edsr", 2, "bicubic")


def test_slices_of_volumes(scans):
    dataset = as_slices(read_dataset(scans))
    assert len(dataset) == 21
    record = dataset.slices[2 * 7 + 4]
    assert (record.patient, record.index) == ("sub-2", 4)
    assert record.path == scans / "sub-2.nii.gz" / "0004"
    values = np.asarray(nibabel.load(scans / "sub-2.nii.gz").dataobj, float)[4]
    everything = np.asarray(nibabel.load(scans / "sub-2.nii.gz").dataobj, float)
    expected = np.clip(values / np.percentile(everything, 99.9), 0, 1) * 255
    image = read_8bit(dataset.volumes, record)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[..., 0], expected, atol=1.01)


def stack_reader(root, degradation, kind=StackReader):
    dataset = as_slices(read_dataset(root))
    read = functools.partial(read_8bit, dataset.volumes)
    return kind(dataset, degradation, read=read, stack=lambda record: record.path.parent)


def test_a_stack_is_degraded_as_a_whole(scans):
    degradation = get_degradation("slice-profile", (1, 1, 2))
    reader = stack_reader(scans, degradation)
    assert (len(reader.dataset), reader.left_out) == (18, 3)
    stack = reader.dataset.slices[6:12]
    hr = np.stack([reader.hr(record) for record in stack], axis=2)
    lr = degradation.degrade(hr)
    np.testing.assert_array_equal(reader.lr_volume(stack[0]), lr)
    for place, record in enumerate(stack):
        assert reader.place(record) == place
        np.testing.assert_array_equal(reader.lr(record), lr[:, :, place // 2])


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_interpolations_keep_the_grids_aligned(name):
    # A ramp through the centres of the voxels goes on as the same ramp, but at its ends.
    lr = np.broadcast_to(20 + 8 * np.arange(12.0), (6, 6, 12))[..., np.newaxis].astype("uint8")
    sr = StackInterpolator(name, (1, 1, 2)).upscale(lr)
    assert sr.shape == (6, 6, 24, 1) and sr.dtype == np.uint8
    position = (np.arange(24) + 0.5) / 2 - 0.5
    if name == "nearest":
        position = np.repeat(np.arange(12), 2)
    np.testing.assert_allclose(sr[3, 3, 4:-4, 0], (20 + 8 * position)[4:-4], atol=1)


def test_a_model_of_volumes_on_volumes(scans, model_3d, tmp_path):
    evaluation = evaluate_model(model_3d, scans, tmp_path / "out")
    protocol = evaluation.protocol
    assert list(protocol.methods) == ["nearest", "linear", "cubic", "SR"]
    assert (protocol.images, protocol.scale, protocol.kind) == (18, (1, 1, 2), "volumes")
    assert "x1x1x2, degradation slice-profile" in protocol.task
    assert any("3 slices at the end of stacks" in note for note in evaluation.notes)
    assert "residual" not in protocol.metrics

    # The same by hand, for one slice.
    dataset = as_slices(read_dataset(scans))
    stack = [read_8bit(dataset.volumes, record) for record in dataset.slices[:6]]
    hr = np.stack(stack, axis=2)
    lr = get_degradation("slice-profile", (1, 1, 2)).degrade(hr)
    sr = make_model("SR", model_3d).upscale(lr)
    expected = float(psnr(hr[np.newaxis, :, :, 3] / 255, sr[np.newaxis, :, :, 3] / 255, 1.0)[0])
    [score] = [
        one
        for one in evaluation.scores
        if (one.patient, one.index, one.method, one.region) == ("sub-0", 3, "SR", "whole")
    ]
    assert score.values["psnr"] == pytest.approx(expected, abs=1e-3)
    assert (tmp_path / "out/figure.png").is_file()
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["protocol"]["scale"] == [1, 1, 2]


def test_a_model_of_volumes_on_stacks_of_images(study, pattern, tmp_path):
    info_scale = (1, 1, 3)
    folder = tmp_path / "run"
    degradation = get_degradation("slice-profile", info_scale).to_dict()
    generator = {"name": "srresnet3d", "blocks": 1, "filters": 4}
    info = ModelInfo(3, 3, generator, degradation, factors=info_scale)
    save_trained(folder, build_generator(scale=info_scale, channels=3, **generator), info, "Untrained.\n")
    evaluation = evaluate_model(folder, study, patient_pattern=pattern, metrics=["psnr"], figure_cases=0)
    assert evaluation.protocol.images == 30
    assert {score.channel for score in evaluation.scores} == {"RGB", "green"}
    assert "tumour" in {score.region for score in evaluation.scores}


def test_a_model_of_slices_on_volumes(scans, model_2d):
    evaluation = evaluate_model(model_2d, scans, metrics=["psnr", "consistency"], figure_cases=1)
    assert list(evaluation.protocol.methods) == ["nearest", "bicubic", "lanczos", "SR"]
    assert evaluation.protocol.images == 21
    assert len({score.path for score in evaluation.scores}) == 21
    assert any("by their own range" in line for line in evaluation.protocol.lines())


def test_neighbours_are_those_of_the_same_volume(tmp_path, smooth_image):
    """Two scans of one patient are two stacks."""
    for scan in ("T1", "T2"):
        values = np.stack([smooth_image(24, 24, 1, seed=z)[..., 0] for z in range(3)], axis=2).astype("int16")
        (tmp_path / "sub-1").mkdir(exist_ok=True)
        nibabel.save(
            nibabel.Nifti1Image(values * (3 if scan == "T2" else 1), np.diag([1, 1, 4, 1.0])),
            tmp_path / "sub-1" / f"{scan}.nii.gz",
        )
    reader = stack_reader(tmp_path, get_degradation("bicubic", 2), SliceReader)
    last = reader.dataset.slices[2]
    assert last.path.parent.name == "T1.nii.gz"
    np.testing.assert_array_equal(reader.lr(last, 1)[..., 2:], reader.lr(last))


def test_on_the_command_line(scans, model_3d, tmp_path, capsys):
    report = tmp_path / "report.html"
    words = ["--model", str(model_3d), "--data", str(scans), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *words, "--report", str(report), "--metrics", "psnr,ssim"]) == 0
    assert "cubic" in capsys.readouterr().out
    assert report.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["psnr", "consistency"]}, "'consistency' is for models of slices"),
        ({"noise_snr": 20}, "Noise at a given SNR is for models of slices"),
        (
            {"methods": ["lanczos"]},
            "Unknown interpolation of volumes 'lanczos'. Known: cubic",
        ),
        ({"consistency": True}, "leave out `consistency`"),
        ({"scale": 2}, "is a x1x1x2 model, not x2"),
    ],
)
def test_what_models_of_volumes_cannot_do(scans, model_3d, options, message):
    with pytest.raises(MrisrError, match=message):
        evaluate_model(model_3d, scans, **options)


def test_models_of_slices_and_of_volumes_are_not_compared(scans, model_2d, model_3d):
    with pytest.raises(MrisrError, match=r"differ in scale \(x2 and x1x1x2\)"):
        evaluate_models({"A": model_2d, "B": model_3d}, scans)


def test_stacks_that_are_too_short(tmp_path, model_3d, smooth_image):
    nibabel.save(nibabel.Nifti1Image(smooth_image(24, 24, 1), np.eye(4)), tmp_path / "one.nii.gz")
    with pytest.raises(MrisrError, match="holds no stack of 2 slices"):
        evaluate_model(model_3d, tmp_path)


def test_predictions_of_volumes_are_refused(scans, model_2d, tmp_path):
    with pytest.raises(MrisrError, match="save them as images"):
        evaluate_models({"A": model_2d}, scans, predictions={"B": tmp_path})
