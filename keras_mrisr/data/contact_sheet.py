"""A contact sheet: one look at many patients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_mrisr.data.images import read_image, write_image
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.data.slices import SliceDataset, SliceRecord, evenly_spaced
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.stored_values import rounded

_LABEL = 30  # Height of the two lines of text under a picture, in pixels.
_GAP = 6
_PAPER, _INK, _FAINT, _OUTLINE = (24, 24, 27), (235, 235, 235), (150, 150, 155), (255, 214, 10)


def contact_sheet(
    dataset: SliceDataset,
    path: PathLike,
    patients: int = 60,
    per_patient: int = 1,
    cell: int = 160,
) -> None:
    """Writes a grid of slices as an image, with the patient and the slice number under each.

    Of each patient the slice with the largest tumour is shown, its mask outlined, or the middle slice
    where no mask says more; with `per_patient` over 1, slices evenly through the stack.

    Args:
        dataset: The slices; must not be empty.
        path: The image file to write, such as a .png. An existing one is replaced.
        patients: At most so many patients, taken evenly from the list.
        per_patient: Slices per patient, side by side.
        cell: Width and height of a picture in pixels.

    Raises:
        DataError: Nothing to show, or the file cannot be written. An unreadable slice only leaves its
            cell empty.
    """
    if not dataset.slices or patients < 1 or per_patient < 1:
        raise DataError(
            f"Nothing to show of {dataset.root}: give at least one slice, patient and slice per patient."
        )
    dataset = as_slices(dataset)
    stacks = list(dataset.by_patient().values())
    shown = [stacks[place] for place in evenly_spaced(len(stacks), patients)]
    picks = [record for stack in shown for record in _pick(stack, per_patient)]
    # Patients side by side in a block of about 4:3; each patient's slices stay in one row.
    blocks = max(1, round((len(picks) * 4 / 3) ** 0.5 / per_patient))
    columns = min(blocks, len(shown)) * per_patient
    rows = -(-len(picks) // columns)
    width, height = cell + _GAP, cell + _LABEL + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    for place, record in enumerate(picks):
        corner = (_GAP + place % columns * width, _GAP + place // columns * height)
        _draw_cell(sheet, corner, dataset, record, cell)
    write_image(path, np.asarray(sheet))


def _pick(stack: Sequence[SliceRecord], wanted: int) -> list[SliceRecord]:
    if wanted > 1:
        places = evenly_spaced(len(stack), wanted)
        return [stack[place] for place in places] + [stack[places[-1]]] * (wanted - len(places))
    sizes = [_tumour_size(record) for record in stack]
    largest = int(np.argmax(sizes))
    return [stack[largest] if sizes[largest] > 0 else stack[len(stack) // 2]]


def _tumour_size(record: SliceRecord) -> int:
    mask = _mask_of(record)
    return 0 if mask is None else int(mask.sum())


def _mask_of(record: SliceRecord) -> np.ndarray | None:
    """The mask as (H, W) booleans, None where there is none that can be read."""
    try:
        return None if record.mask is None else read_image(record.mask).max(axis=-1) > 0
    except MrisrError:
        return None


def _draw_cell(
    sheet: Image.Image, corner: tuple[int, int], dataset: SliceDataset, record: SliceRecord, cell: int
) -> None:
    x, y = corner
    draw = ImageDraw.Draw(sheet)
    try:
        picture = _picture(dataset, record, cell)
    except MrisrError:
        draw.rectangle((x, y, x + cell - 1, y + cell - 1), outline=_FAINT)
        draw.text(
            (x + cell // 2, y + cell // 2), "unreadable", _FAINT, ImageFont.load_default(12), anchor="mm"
        )
    else:
        sheet.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
    title = ImageFont.load_default(11)
    draw.text((x, y + cell + 3), _shorten(record.patient, title, cell), _INK, title)
    note = f"slice {record.index}" + (f", site {record.site}" if record.site else "")
    draw.text((x, y + cell + 16), _shorten(note, title, cell), _FAINT, title)


def _picture(dataset: SliceDataset, record: SliceRecord, cell: int) -> Image.Image:
    array = dataset.read(record)
    normalizer = normalizer_for(array) if dataset.volumes is None else dataset.volumes.normalizer(record)
    array = rounded(255 * normalizer.normalize(array), "uint8")
    picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert("RGB")
    factor = cell / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    size = width, height
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    mask = _mask_of(record)
    if mask is None or not mask.any():
        return picture
    inside = np.asarray(Image.fromarray(mask.astype("uint8")).resize(size, Image.Resampling.NEAREST)) > 0
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    drawn = np.array(picture)
    drawn[inside & ~core] = _OUTLINE
    return Image.fromarray(drawn)


def _shorten(text: str, font: Any, width: int) -> str:
    """Cuts the front of a text that is too wide: patients differ at the end."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
