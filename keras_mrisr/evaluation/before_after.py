"""The picture of a volume: its slices interpolated beside what a model makes of them."""

from keras_mrisr.inference import SuperResolver, upscale_volume
from keras_mrisr.inference.figure import before_after_volume, check_figure
from keras_mrisr.inference.volume_result import without_holes
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes import read_volume


def compare_volume(
    path: PathLike,
    model: SuperResolver | PathLike,
    out: PathLike,
    *,
    name: str | None = None,
    plane: str | None = None,
    volume_index: int | None = None,
    series: str | int | None = None,
    ensemble: bool = False,
    nan: str = "refuse",
    perception: float = 0.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Upscales a volume and writes a picture of before and after.

    What was measured is the input here: there is no original to compare with, and no number.

    Args:
        path: The volume: a NIfTI file, a DICOM folder, or another format that `read_volume` reads.
        model: A `SuperResolver`, or the path or name of a model.
        out: The picture: .png, .pdf or .svg.
        name: What the picture calls the result; by default the model's name.
        plane: "axial", "coronal" or "sagittal": in which plane the slices lie, and what is shown; by default
            they lie across the largest spacing, and all planes with enough voxels are shown.
        volume_index: Which volume of a 4-D file, from 0.
        series: Which series of a DICOM folder.
        ensemble: Average over flips and quarter turns.
        nan: What becomes of NaN and infinite values, see `upscale_volume`.
        perception: Of the path or name of a model with a GAN end, how far towards it, from 0 to 1.
        overwrite: Replace an existing picture.
        progress: Called with the number of tiles done so far and the number in all.

    Raises:
        DataError: The volume is not usable, or the picture exists or cannot be written.
        ModelError: The model is not usable.
    """
    check_figure(out, overwrite)
    resolver = model if isinstance(model, SuperResolver) else SuperResolver.load(model, perception=perception)
    volume = read_volume(path, volume_index, series)
    upscaled = upscale_volume(volume, resolver, plane, ensemble=ensemble, nan=nan, progress=progress)
    before_after_volume(without_holes(volume)[0], upscaled.volume, out, plane, name or resolver.name)
