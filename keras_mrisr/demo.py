"""A better image in seconds, then the main job in minutes, on a brain that nilearn brings: no download.

There is one brain, so slabs of neighbouring slices stand in for patients.
"""

import dataclasses
import logging
import pathlib
import shutil
from collections.abc import Callable

import numpy as np

from keras_mrisr.config import RunConfig, read_config
from keras_mrisr.data import RangeNormalizer, SliceDataset, Split, read_dataset, read_image, write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MissingDependencyError
from keras_mrisr.evaluation import Evaluation, evaluate_model, evaluate_models
from keras_mrisr.files import check_new_directory, check_only_holds, write_text
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.pretrained import choose_model
from keras_mrisr.training import train
from keras_mrisr.training.callbacks import Report
from keras_mrisr.training.directory import BACKUP, CONFIG
from keras_mrisr.training.state import read_state
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes.stored_values import rounded

log = logging.getLogger(__name__)

# Axial slices that hold brain in the 1 mm template, in slabs. Neighbouring slices are nearly equal, so
# the slices next to a held-out slab are left out: nothing that is scored was seen from 4 mm away.
FIRST, LAST, SLAB, GAP = 20, 150, 10, 4
HELD_OUT = {"validation": (4,), "test": (2, 7, 11)}
STEPS = 100  # An epoch.
EPOCHS = 5
SECONDS_AN_EPOCH = 34  # On two slow processor cores (AVX2); on fast ones a third of it.

NOTE = (
    f"in this demo slabs of {SLAB} neighbouring slices of one template brain stand in for patients; slabs "
    f"that are scored were left out of the training, with {GAP} mm on both sides."
)

MARK = "demo.txt"
PARTS = ("slices", "writing-slices", "pretrained", "model", "low-resolution", "upscaled", "evaluation", MARK)
ABOUT = f"""Written by mrisr demo, which may replace this folder.

slices/          axial slices of the ICBM 2009a T1 template (MNI, by way of nilearn), 8 bit
pretrained/      scores and figure of a bundled model, on some of these slices
model/           the trained model, with its log
low-resolution/  held-out slices, blurred and halved in size
upscaled/        the same, upscaled by the model
evaluation/      scores and figure: {NOTE}
"""

NEXT_STEPS = """
Look at  {out}/pretrained/figure.png (the bundled model), {out}/evaluation/figure.png (the one that was
trained just now), {out}/model/curves.png and the upscaled slices in {out}/upscaled. Then try:

  mrisr upscale YOUR_SCAN.nii.gz sr.nii.gz
  mrisr upscale {out}/low-resolution my-upscaled --model {out}/model --ensemble
  mrisr data inspect YOUR_IMAGES --sheet sheet.png
  mrisr train --data YOUR_IMAGES --scale 2 --preset compact --out runs/mine
  mrisr evaluate --model runs/mine --data YOUR_IMAGES
  tensorboard --logdir {out}/model/tensorboard

One template brain shows that the program works; it says nothing about your scanner. Train on your own scans.
"""


def run_demo(
    out: PathLike,
    epochs: int = EPOCHS,
    overwrite: bool = False,
    report: Report | None = None,
    progress: Callable[[str], Progress] | None = None,
    show: Callable[[Evaluation], None] | None = None,
) -> Evaluation:
    """Upscales slices of the ICBM152 T1 template by a bundled model, and by one that it trains.

    The model that it trains is a compact x2 SRResNet; it is scored on held-out slices.

    Args:
        out: Folder to write: `slices/` (HR), `pretrained/`, `model/`, `evaluation/` with the figure and
            the table, `low-resolution/` and `upscaled/` (test slices).
        epochs: Epochs of 100 steps; 5 take about 3 minutes on 2 CPU cores.
        overwrite: Replace an earlier demo.
        report: As for `train`.
        progress: `progress(title)` gives a function of (done, total), for what is not training.
        show: Called with the `Evaluation` of the bundled model, before the training.

    Returns:
        The `Evaluation` on the test slices.

    Raises:
        MissingDependencyError: nilearn is missing.
        DataError: `out` holds something else.
        ConfigError: `out` holds a demo of more epochs. One that was stopped is resumed, and one of fewer
            epochs trained further.
    """
    out = pathlib.Path(out)
    config = _config(out, epochs)
    ours = (out / MARK).is_file()
    if overwrite:
        check_only_holds(out, PARTS if ours else ())
    check_new_directory(out, overwrite=overwrite or ours)
    if overwrite or not (out / "slices").is_dir():
        volume = _template()
        _clear(out)
        write_text(out / MARK, ABOUT)
        _write_slices(volume, out / "slices")
    evaluation = _try_pretrained(out, progress("Scoring slices") if progress else None)
    if show is not None:
        show(evaluation)
    dataset = read_dataset(out / "slices", "images")
    split = _split(dataset)
    if _finished(out / "model", config):
        log.info("%s is trained already; `overwrite=True` trains it again", out / "model")
    else:
        train(config, out / "model", dataset=dataset, split=split, report=report)
    resolver = SuperResolver.load(out / "model")
    resolver.warns = False  # After an epoch or two it undoes little.
    _write_low_resolution(dataset.select(split.test), out / "low-resolution")
    upscale_path(out / "low-resolution", out / "upscaled", resolver, overwrite=True)
    return _evaluate(out, progress("Scoring slices") if progress else None)


def _try_pretrained(out: pathlib.Path, progress: Progress | None) -> Evaluation:
    """Scores the bundled model for one channel on every tenth slice or so."""
    model, _ = choose_model(2, 1, consistency=True)  # One whose degradation is known: LR is made by it.
    evaluation = evaluate_models(
        {model.name: model.folder},
        out / "slices",
        methods=("bicubic", "zero-filled"),
        metrics=("psnr", "ssim"),
        limit=12,
        progress=progress,
    )
    cases = (
        dataclasses.replace(case, label=case.label.replace("patient", "slab")) for case in evaluation.cases
    )
    note = "slabs of one template brain, which the model never saw, stand in for patients."
    evaluation = dataclasses.replace(evaluation, notes=(note,), cases=tuple(cases))
    evaluation.save(out / "pretrained", overwrite=True)
    return evaluation


def _config(out: pathlib.Path, epochs: int) -> RunConfig:
    return RunConfig.from_dict(
        {
            "scale": 2,
            "degradation": {"name": "paper"},
            "generator": {
                "name": "srresnet",
                "blocks": 4,
                "filters": 32,
                "batch_norm": False,
                "global_skip": True,
            },
            "data": {"root": str(out / "slices"), "kind": "images"},
            "training": {
                "epochs": epochs,
                "steps_per_epoch": STEPS,
                "batch_size": 8,
                "patch_size": 64,
                "learning_rate": 1e-3,
                "clip_norm": 0.5,
                "validation_slices": 10,
            },
        }
    )


def _clear(out: pathlib.Path) -> None:
    """Removes an earlier demo, and nothing else; the mark goes last, so that it can be done again."""
    check_only_holds(out, PARTS)
    for name in PARTS[:-1]:
        shutil.rmtree(out / name, ignore_errors=True)


def _evaluate(out: pathlib.Path, progress: Progress | None) -> Evaluation:
    """Scores the model, and says in table and figure what the "patients" are here."""
    evaluation = evaluate_model(out / "model", out / "slices", progress=progress)
    cases = (
        dataclasses.replace(case, label=case.label.replace("patient", "slab")) for case in evaluation.cases
    )
    evaluation = dataclasses.replace(evaluation, notes=(NOTE, *evaluation.notes), cases=tuple(cases))
    evaluation.save(out / "evaluation", overwrite=True)
    return evaluation


def _template() -> np.ndarray:
    """The T1 template of the ICBM 2009a non-linear symmetric average, (197, 233, 189) at 1 mm."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise MissingDependencyError("The demo needs nilearn: pip install nilearn") from error
    return np.asarray(load_mni152_template(resolution=1).dataobj, dtype="float32")


def _write_slices(volume: np.ndarray, folder: pathlib.Path) -> None:
    """Writes axial slices as 8-bit PNGs, one folder a slab, with gaps beside held-out slabs."""
    held_out = {slab for slabs in HELD_OUT.values() for slab in slabs}
    normalizer = RangeNormalizer(0.0, float(np.percentile(volume, 99.9)))
    writing = folder.with_name("writing-slices")
    shutil.rmtree(writing, ignore_errors=True)
    for z in range(FIRST, LAST):
        slab = (z - FIRST) // SLAB
        near = {(z - FIRST + step) // SLAB for step in range(-GAP, GAP + 1)} - {slab}
        if slab not in held_out and near & held_out:
            continue
        # Anterior up, the patient's right on the viewer's left, as radiologists look at it.
        image = np.rot90(volume[::-1, :, z])
        pixels = rounded(normalizer.normalize(image) * 255, np.uint8)
        write_image(writing / f"slab-{slab:02d}" / f"axial-{z:03d}.png", pixels[..., np.newaxis])
    writing.rename(folder)


def _split(dataset: SliceDataset) -> Split:
    names = {part: {f"slab-{slab:02d}" for slab in slabs} for part, slabs in HELD_OUT.items()}
    train_slabs = set(dataset.patients) - names["validation"] - names["test"]
    return Split(tuple(train_slabs), tuple(names["validation"]), tuple(names["test"]))


def _finished(model: pathlib.Path, config: RunConfig) -> bool:
    state = read_state(model / BACKUP)
    return state is not None and state.finished and read_config(model / CONFIG).training == config.training


def _write_low_resolution(dataset: SliceDataset, folder: pathlib.Path) -> None:
    degradation = get_degradation("paper", 2)
    for record in dataset.slices:
        hr = read_image(record.path)
        lr = degradation.degrade(hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2])
        write_image(folder / record.path.name, lr)
