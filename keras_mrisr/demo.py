"""A better image in seconds, then the main job in minutes, on a brain that comes with nilearn: no download.

There is one brain, so slabs of neighbouring slices stand in for patients.
"""

import dataclasses
import logging
import pathlib
import shutil

import numpy as np

from keras_mrisr.config import RunConfig, read_config
from keras_mrisr.data import RangeNormalizer, Split, read_dataset, read_image, write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation import evaluate_model, evaluate_models
from keras_mrisr.files import check_new_directory, check_only_holds, write_text
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.pretrained import choose_model
from keras_mrisr.training import train
from keras_mrisr.volumes.stored_values import rounded

log = logging.getLogger(__name__)

# Axial slices that hold brain in the 1 mm template, in slabs. Neighbouring slices are nearly equal, so
# the slices next to a held-out slab are left out: nothing that is scored was seen from 4 mm away.
FIRST, LAST, SLAB, GAP = 20, 150, 10, 4
HELD_OUT = {"validation": (4,), "test": (2, 7, 11)}
STEPS = 100  # An epoch.

NOTE = (
    f"in this demo slabs of {SLAB} neighbouring slices of one template brain stand in for patients; slabs "
    f"that are scored were left out of the training, with {GAP} mm on both sides."
)

MARK = "demo.txt"
PARTS = ("slices", "writing-slices", "pretrained", "model", "low-resolution", "upscaled", "evaluation", MARK)
ABOUT = f"""Written by mrisr demo, which may replace this folder.

slices/          axial slices of the ICBM 2009a T1 template (MNI, by way of nilearn), 8 bit
pretrained/      scores and figure of a model that comes with the package, on some of these slices
model/           the trained model, with its log
low-resolution/  held-out slices, blurred and halved in size
upscaled/        the same, upscaled by the model
evaluation/      scores and figure: {NOTE}
"""

NEXT_STEPS = """
Look at  {out}/pretrained/figure.png (the model that comes along), {out}/evaluation/figure.png (the one
that was trained just now) and the upscaled slices in {out}/upscaled. Then try:

  mrisr upscale YOUR_SCAN.nii.gz sr.nii.gz
  mrisr upscale {out}/low-resolution my-upscaled --model {out}/model --ensemble
  mrisr data inspect YOUR_IMAGES --sheet sheet.png
  mrisr train --data YOUR_IMAGES --scale 2 --preset compact --out runs/mine
  mrisr evaluate --model runs/mine --data YOUR_IMAGES
  tensorboard --logdir {out}/model/tensorboard

One template brain shows that the program works; it says nothing about your scanner. Train on your own scans.
"""


def run_demo(out, epochs=20, overwrite=False, report=None, progress=None, show=None):
    """Upscales slices of the ICBM152 T1 template by a model that comes along, and by one that it trains.

    The model that it trains is a compact x2 SRResNet; it is scored on held-out slices.

    Args:
        out: Folder to write: `slices/` (HR), `pretrained/`, `model/`, `evaluation/` with the figure and
            the table, `low-resolution/` and `upscaled/` (test slices).
        epochs: Epochs of 100 steps; 20 take about 3 minutes on 2 CPU cores.
        overwrite: Replace an earlier demo.
        report: As for `train`.
        progress: `progress(title)` gives a function of (done, total), for what is not training.
        show: Called with the `Evaluation` of the model that comes along, before the training.

    Returns:
        The `Evaluation` on the test slices.

    Raises:
        DataError: nilearn is missing, or `out` holds something else or a demo of another length. A demo
            that was stopped goes on.
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
    if _finished(out / "model") and read_config(out / "model" / "config.yaml", RunConfig()) == config:
        log.info("%s is trained already; --overwrite trains anew", out / "model")
    else:
        train(config, out / "model", dataset=dataset, split=split, report=report)
    resolver = SuperResolver.load(out / "model")
    resolver.warns = False  # After an epoch or two it undoes little.
    _write_low_resolution(dataset.select(split.test), out / "low-resolution")
    upscale_path(out / "low-resolution", out / "upscaled", resolver, overwrite=True)
    return _evaluate(out, progress("Scoring slices") if progress else None)


def _try_pretrained(out, progress):
    """Scores the model that comes along for one channel on every tenth slice or so."""
    model, _ = choose_model(2, 1)
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


def _config(out, epochs):
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


def _clear(out):
    """Removes an earlier demo, and nothing else; the mark goes last, so that it can be done again."""
    check_only_holds(out, PARTS)
    for name in PARTS[:-1]:
        shutil.rmtree(out / name, ignore_errors=True)


def _evaluate(out, progress):
    """Scores the model, and says in table and figure what the "patients" are here."""
    evaluation = evaluate_model(out / "model", out / "slices", progress=progress)
    cases = (
        dataclasses.replace(case, label=case.label.replace("patient", "slab")) for case in evaluation.cases
    )
    evaluation = dataclasses.replace(evaluation, notes=(NOTE, *evaluation.notes), cases=tuple(cases))
    evaluation.save(out / "evaluation", overwrite=True)
    return evaluation


def _template():
    """The T1 template of the ICBM 2009a non-linear symmetric average, (197, 233, 189) at 1 mm."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise DataError("The demo needs nilearn: pip install 'keras-mrisr[demo]'") from error
    return np.asarray(load_mni152_template(resolution=1).dataobj, dtype="float32")


def _write_slices(volume, folder):
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


def _split(dataset):
    names = {part: {f"slab-{slab:02d}" for slab in slabs} for part, slabs in HELD_OUT.items()}
    train_slabs = set(dataset.patients) - names["validation"] - names["test"]
    return Split(tuple(train_slabs), tuple(names["validation"]), tuple(names["test"]))


def _finished(model):
    from keras_mrisr.training.state import read_state

    state = read_state(model / "backup")
    return state is not None and state.finished


def _write_low_resolution(dataset, folder):
    degradation = get_degradation("paper", 2)
    for record in dataset.slices:
        hr = read_image(record.path)
        lr = degradation.degrade(hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2])
        write_image(folder / record.path.name, lr)
