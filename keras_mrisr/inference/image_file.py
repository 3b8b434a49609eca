"""An image file, alone or with its neighbours in a stack, as something to upscale."""

import dataclasses
import logging
import pathlib

import numpy as np

from keras_mrisr.data.images import IMAGE_SUFFIXES, check_image_name, read_image, write_image
from keras_mrisr.data.neighbours import window
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.files import check_new_file, check_not_source
from keras_mrisr.inference.consistency import rms
from keras_mrisr.inference.degradation_check import refuse_mismatch
from keras_mrisr.inference.figure import before_after_image, check_figure
from keras_mrisr.inference.input_range import outside_of
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.page import check_page, write_image_page
from keras_mrisr.inference.report import check_report, residual_path, write_report
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.upscaled_image import upscaled_mask
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ReadImage:
    """What was read of an `ImageFile`.

    Attributes:
        stack: Array (H, W, C * (2k + 1)): the image between its k neighbours on each side.
        image: The image itself, (H, W, C).
        holes: Mask (H, W) of the values that were not finite, or None.
    """

    stack: np.ndarray
    image: np.ndarray
    holes: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image at a path; an `Input`.

    Attributes:
        path: The file.
        stack: The files of the stack that it is a slice of, in their order; an image alone stands for its
            neighbours.
        index: Its place among them.
    """

    path: pathlib.Path
    stack: tuple[pathlib.Path, ...] = ()
    index: int = 0

    def check_options(self, options: UpscaleOptions) -> None:
        """Refuses what is for volumes only."""
        refuse_for_volumes(self.path, options)

    def place(self, target: pathlib.Path) -> pathlib.Path:
        """Where the result goes: into a folder that exists, under the same name."""
        return target / self.path.name if target.is_dir() else target

    def outputs(self, target: pathlib.Path, options: UpscaleOptions) -> list[pathlib.Path]:
        """All that is written for one result."""
        outputs = [target]
        if options.consistency and options.residuals:
            outputs.append(residual_path(target))
        return [
            *outputs,
            *(pathlib.Path(path) for path in (options.figure, options.report) if path is not None),
        ]

    def read(self, resolver: SuperResolver, options: UpscaleOptions) -> ReadImage:
        """Reads the image and its neighbours, and checks that the model can upscale them."""
        stack = self.stack or (self.path,)
        paths = [stack[i] for i in window(self.index, len(stack), resolver.info.neighbours)]
        read = {path: _read_finite(path, resolver, options.nan) for path in dict.fromkeys(paths)}
        image, holes = read[self.path]
        for path, (one, _) in read.items():
            if (one.shape, one.dtype) != (image.shape, image.dtype):
                raise DataError(
                    f"{path} is of another size or type than {self.path}, its neighbour in the stack: "
                    "put the slices of each stack into a folder of their own."
                )
        return ReadImage(np.concatenate([read[path][0] for path in paths], axis=-1), image, holes)

    def check(
        self, read: ReadImage, target: pathlib.Path, resolver: SuperResolver, options: UpscaleOptions
    ) -> None:
        """Checks before the work that all outputs can be written."""
        if target.suffix.lower() not in IMAGE_SUFFIXES:
            endings = ", ".join(IMAGE_SUFFIXES)
            raise DataError(f"{target} is no folder and no image name: make the folder, or end in {endings}.")
        check_not_source(target, self.path)
        check_new_file(target, options.overwrite)
        check_image_name(target, read.image.dtype)
        if options.consistency and options.residuals:
            check_report(residual_path(target), options.overwrite)
        if options.figure is not None:
            check_figure(options.figure, options.overwrite)
        if options.report is not None:
            check_page(options.report, options.overwrite)

    def outside(self, read: ReadImage, resolver: SuperResolver) -> str | None:
        """How the image differs from what the model was made for; see `outside_of`."""
        return outside_of(resolver.info, read.image.shape[:2])

    def upscale(
        self,
        read: ReadImage,
        target: pathlib.Path,
        resolver: SuperResolver,
        options: UpscaleOptions,
        progress: Progress | None = None,
    ) -> Outcome:
        """Upscales the image and writes what is asked for, each file whole or not at all."""
        try:
            upscaled = resolver.upscale(read.stack, options.ensemble, consistency=options.consistency)
        except MrisrError as error:
            raise type(error)(f"{self.path}: {error}") from error
        if options.refuse_mismatch:
            refuse_mismatch(upscaled.mismatches, resolver.name, upscaled.degraded_by)
        if read.holes is not None:
            upscaled.sr[upscaled_mask(read.holes, resolver.factors)] = 0
        write_image(target, upscaled.sr)
        written, residual = [target], upscaled.residual
        if residual is not None and options.consistency and options.residuals:
            log_residual(residual)
            values = {"before": residual[0], "after": residual[1], "images": 1}
            write_report(residual_path(target), resolver.name, values)
            written.append(residual_path(target))
        if options.figure is not None:
            before_after_image(read.image, upscaled.sr, options.figure, resolver.name)
            written.append(pathlib.Path(options.figure))
        if progress is not None:
            progress(1, 1)
        level = rms(read.image)
        relative = None if residual is None else residual[1] / level if level else 0.0
        verdict = Verdict(
            self.outside(read, resolver), upscaled.mismatches, relative, degraded_by=upscaled.degraded_by
        )
        if options.report is not None:
            write_image_page(
                read.image,
                upscaled.sr,
                options.report,
                name=str(self.path),
                model=resolver.name,
                verdict=verdict.sentence(resolver.name),
                overwrite=options.overwrite,
            )
            written.append(pathlib.Path(options.report))
        return Outcome(written, verdict, residual, (resolver.name,))


def refuse_for_volumes(path: pathlib.Path, options: UpscaleOptions) -> None:
    """Raises DataError for an option that images do not have."""
    names = ("plane", "volume_index", "series", "uncertainty", "way", "spacing", "slice_thickness", "adapt")
    for name in names:
        value = getattr(options, name)
        if value not in (None, "in-plane"):  # Which is the way of every image.
            name = f"way={value}" if name == "way" else name
            raise DataError(f"{path} is no NIfTI or DICOM: leave out `{name}`.")


def log_residual(residual: tuple[float, float]) -> None:
    """Says how far results are from what was measured."""
    log.info("Residual against the measured images (RMS): %.3g before, %.3g after", *residual)


def _read_finite(
    path: pathlib.Path, resolver: SuperResolver, nan: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """An image that the model can upscale, and where it was not finite (and is zero now), or None."""
    image, holes = read_image(path, finite=nan == "refuse"), None
    if not np.isfinite(image).all():
        holes = ~np.isfinite(image).all(axis=-1)
        image = np.where(np.isfinite(image), image, 0).astype(image.dtype)
    try:
        resolver.check_image(image)
    except MrisrError as error:
        raise DataError(f"{path}: {error}") from error
    return image, holes
