"""Makes the page of a reader study, and its key."""

import dataclasses
import hashlib
import itertools
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.checks import check, known
from keras_mrisr.data.slices import SliceRecord, evenly_spaced
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.options import EvaluationOptions
from keras_mrisr.evaluation.pictures import Encoder
from keras_mrisr.evaluation.prepare import Task, prepare
from keras_mrisr.evaluation.readers.study import COARSE, KINDS, ORIGINAL, Study, Trial, key_path
from keras_mrisr.files import check_new_file, write_text
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

TEMPLATES = pathlib.Path(__file__).with_name("templates")
_BLOCK = 8


def make_study(
    models: Mapping[str, Any],
    data_root: PathLike,
    out: PathLike,
    *,
    kind: str = "nearer",
    cases: int = 40,
    catch: int = 4,
    seed: int = 0,
    title: str = "Reader study",
    options: EvaluationOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Study:
    """Writes a self-contained page that asks readers about images, and the key to it beside the page.

    Every case is shown once for each two methods, or for the kind "scores" once for each method; order and
    sides are drawn. The page does not say which method an image is from. Slices are from the middle half of
    their stacks, spread over the patients that no model was trained on.

    Args:
        models: Dict name -> model, as for `evaluate_models`.
        data_root: Folder of the data.
        out: The page, an .html file; its key becomes NAME.key.json beside it. Keep it from readers.
        kind: "nearer" (of two images, which is nearer to the original, shown beside them), "real" (of two,
            the original among the methods, which looks like a real scan) or "scores" (1 to 5, one image at
            a time, the original among the methods).
        cases: Number of slices.
        catch: Number of catch trials: the original beside a very coarse image, or that one to be scored.
        seed: Of what is drawn.
        title: Heading of the page.
        options: As for `evaluate_models`; `methods`, by default none, are interpolators that take part, too.
        overwrite: Replace an existing page and key.
        progress: Called as progress(done, total) with numbers of slices.
        **changes: Attributes of `EvaluationOptions` that differ from `options`.

    Returns:
        The `Study`: what the key holds.

    Raises:
        ConfigError: An option is out of range, or there are too few methods.
        DataError: The data are not usable, or a file cannot be written.
        ModelError: A model is not usable.
    """
    known("kind of study", kind, KINDS)
    check(cases >= 1, "`cases`", cases, "1 or more")
    check(catch >= 0, "`catch`", catch, "0 or more")
    check(seed >= 0, "`seed`", seed, "0 or more")
    if pathlib.Path(out).suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{out} does not end in .html. Give the name of the page to write.")
    for path in (out, key_path(out)):
        check_new_file(path, overwrite)
    options = dataclasses.replace(options or EvaluationOptions(methods=(), metrics=("psnr",)), **changes)
    task = prepare(models, data_root, options)
    methods = [one.name for one in task.methods] + ([ORIGINAL] if kind != "nearer" else [])
    if len(methods) < 2:
        raise ConfigError(
            f"A study of the kind {kind!r} compares two or more methods. Received: {', '.join(methods)}. "
            "Give another model, or an interpolator as `methods`."
        )
    rng = np.random.default_rng(seed)
    records = _choose(task.records, cases)
    if len(records) < cases:
        log.warning(
            "Only %d of %d cases: the patients of this part have no more slices.", len(records), cases
        )
    shown, trials = _draw(task, records, methods, kind, catch, rng, progress)
    sources = {one.name: one.source for one in task.methods}
    facts = [kind, seed, methods, sources, [dataclasses.asdict(one) for one in trials]]
    study = Study(_name(facts, shown), kind, tuple(methods), sources, seed, tuple(trials))
    write_text(out, _page(study, shown, title, rng))
    study.save(key_path(out))
    return study


def _name(facts: list[Any], shown: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """What the page and its key are known by: of its questions and its pictures, as other weights or another
    degradation give other pictures under the same names.
    """
    total = hashlib.sha256(json.dumps(facts).encode())
    for case in sorted(shown):
        for method in sorted(shown[case]):
            total.update(np.rint(255 * shown[case][method]).astype("uint8").tobytes())
    return f"s{total.hexdigest()[:12]}"  # By itself Excel may take it for a number.


def _choose(records: Sequence[SliceRecord], count: int) -> list[SliceRecord]:
    """Slices of the middle half of each stack, patients in turn, each evenly spread."""
    stacks: dict[str, list[SliceRecord]] = {}
    for record in records:
        stacks.setdefault(record.patient, []).append(record)
    inner = [stack[len(stack) // 4 : len(stack) - len(stack) // 4] for stack in stacks.values()]
    shares = [0] * len(inner)
    while sum(shares) < count and any(share < len(own) for share, own in zip(shares, inner, strict=True)):
        for place in range(len(inner)):
            if sum(shares) < count and shares[place] < len(inner[place]):
                shares[place] += 1
    return [
        own[place]
        for own, share in zip(inner, shares, strict=True)
        for place in evenly_spaced(len(own), share)
    ]


def _draw(
    task: Task,
    records: Sequence[SliceRecord],
    methods: Sequence[str],
    kind: str,
    catch: int,
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[dict[str, dict[str, np.ndarray]], list[Trial]]:
    """The pictures of each case, and the trials in the order in which they are shown."""
    root, shown, trials = task.reader.dataset.root, {}, []
    caught = set(rng.choice(len(records), min(catch, len(records)), replace=False).tolist())
    for place, record in enumerate(records):
        case = record.path.relative_to(root).as_posix()
        shown[case] = _pictures(task, record)
        sets: list[tuple[str, ...]] = [*itertools.combinations(methods, 1 if kind == "scores" else 2)]
        catching = (COARSE,) if kind == "scores" else (ORIGINAL, COARSE)
        for names, is_catch in [*((one, False) for one in sets), *([(catching, True)] * (place in caught))]:
            sides = tuple(names[side] for side in rng.permutation(len(names)))
            trials.append(Trial("", record.patient, case, sides, is_catch))
        if progress is not None:
            progress(place + 1, len(records))
    order = rng.permutation(len(trials))
    return shown, [
        dataclasses.replace(trials[place], code=f"t{number:03}") for number, place in enumerate(order, 1)
    ]


def _pictures(task: Task, record: SliceRecord) -> dict[str, np.ndarray]:
    """Method -> its picture (H, W) in [0, 1], all with the window of the original."""
    images = task.images(record)
    channel = list(images.groups.values())[-1].start
    planes = {**images.images, ORIGINAL: images.hr}
    # NIfTI counts x from left to right and y upwards.
    turn = np.rot90 if task.kind == "volumes" else np.asarray
    grey = {name: turn(plane[..., channel]).astype("float32") for name, plane in planes.items()}
    white = max(1.0, float(np.percentile(grey[ORIGINAL], 99.7)))
    shown = {name: np.clip(plane / white, 0, 1) for name, plane in grey.items()}
    shown[COARSE] = _coarse(shown[ORIGINAL])
    return shown


def _coarse(plane: np.ndarray) -> np.ndarray:
    """An image of 8x8 blocks, with the means of the blocks."""
    height, width = plane.shape
    rows, columns = (np.arange(0, size, _BLOCK) for size in (height, width))
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    return np.kron(sums / counts, np.ones((_BLOCK, _BLOCK), "float32"))[:height, :width]


def _page(
    study: Study, shown: Mapping[str, Mapping[str, np.ndarray]], title: str, rng: np.random.Generator
) -> str:
    import jinja2

    needed = {(trial.case, method) for trial in study.trials for method in trial.methods}
    if study.kind == "nearer":
        needed |= {(trial.case, ORIGINAL) for trial in study.trials}
    listed = sorted(needed)
    mixed = [listed[place] for place in rng.permutation(len(listed))]  # Their order would tell the method.
    number = {key: place for place, key in enumerate(mixed)}
    encoder = Encoder()
    data = {
        "study": study.name,
        "kind": study.kind,
        "answers": study.answers,
        "images": [encoder.plane(shown[case][method]) for case, method in mixed],
        "trials": [
            {
                "code": trial.code,
                "images": [number[trial.case, method] for method in trial.methods],
                "original": number[trial.case, ORIGINAL] if study.kind == "nearer" else None,
            }
            for trial in study.trials
        ],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("study.html").render(
        css=(TEMPLATES / "study.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "study.js").read_text(encoding="utf-8"),
        data=data,
        title=title,
        question=KINDS[study.kind],
        kind=study.kind,
        count=len(study.trials),
        version=__version__,
    )
