"""A scan in a file or in a folder of DICOM, as something to upscale."""

import dataclasses
import logging
import pathlib

from keras_mrisr.inference.degradation_check import refuse_mismatch
from keras_mrisr.inference.figure import before_after_volume, check_figure
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.page import check_page, write_page
from keras_mrisr.inference.report import check_report, residual_path, write_report
from keras_mrisr.inference.volume_result import UpscaledVolume, without_holes
from keras_mrisr.inference.ways import Models, ThroughPlane, Way, way_for
from keras_mrisr.types import Progress
from keras_mrisr.volumes import Volume, check_target, check_volume
from keras_mrisr.volumes.formats import Reader, format_for, target_in

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Scan:
    """A volume at a path; an `Input`.

    Attributes:
        path: The file, or the folder of a DICOM series.
        format: What it is.
    """

    path: pathlib.Path
    format: Reader

    def check_options(self, options: UpscaleOptions) -> None:
        """All options are for volumes."""

    def place(self, target: pathlib.Path) -> pathlib.Path:
        """Where the result goes: into a folder that exists, unless the folder is to be a DICOM series."""
        return target_in(self.path, self.format, target)

    def outputs(self, target: pathlib.Path, options: UpscaleOptions) -> list[pathlib.Path]:
        """All that is written for one result."""
        others = (options.uncertainty, options.figure, options.report)
        outputs = [target, *(pathlib.Path(path) for path in others if path is not None)]
        if options.consistency and options.residuals:
            outputs.append(residual_path(target))
        return outputs

    def read(self, models: Models, options: UpscaleOptions) -> "tuple[Volume, Way]":
        """Reads the volume, decides which way it goes, and checks that the model can upscale it."""
        volume = self.format.read(self.path, options.volume_index, options.series)
        way = way_for(volume, models, options)
        way.check(volume, options)
        check_volume(volume, options.nan)
        return volume, way

    def check(
        self, read: "tuple[Volume, Way]", target: pathlib.Path, models: Models, options: UpscaleOptions
    ) -> None:
        """Checks before the work that all outputs can be written."""
        volume, way = read
        result = way.stand_in(volume, options)
        for output in (target, options.uncertainty):
            if output is not None:
                check_target(result, output, options.overwrite)
        if options.consistency and options.residuals:
            check_report(residual_path(target), options.overwrite)
        if options.figure is not None:
            check_figure(options.figure, options.overwrite)
        if options.report is not None:
            check_page(options.report, options.overwrite)

    def upscale(
        self,
        read: "tuple[Volume, Way]",
        target: pathlib.Path,
        models: Models,
        options: UpscaleOptions,
        progress: Progress | None = None,
    ) -> Outcome:
        """Upscales the volume and writes what is asked for, each file or folder whole or not at all."""
        volume, way = read
        upscaled = way.upscale(volume, options, progress)
        if options.refuse_mismatch:
            refuse_mismatch(upscaled.verdict.mismatches, way.name, upscaled.verdict.degraded_by)
        written = format_for(target).write(upscaled.volume, target, options.overwrite)
        if upscaled.uncertainty is not None and options.uncertainty is not None:
            path = pathlib.Path(options.uncertainty)
            written += format_for(path).write(upscaled.uncertainty, path, options.overwrite)
        if upscaled.residual is not None and options.consistency:
            residual = upscaled.residual.to_dict()
            log.info(
                "Residual against the measured image (RMS): %.3g before, %.3g after, %.3g as written; that "
                "is %.2g, %.2g and %.2g of the image's own RMS",
                *(residual[name] for name in ("before", "after", "written")),
                *(residual[f"relative_{name}"] for name in ("before", "after", "written")),
            )
            if options.residuals:
                write_report(residual_path(target), way.name, residual)
                written.append(residual_path(target))
        written += _views(without_holes(volume)[0], upscaled, way, options)
        return Outcome(written, upscaled.verdict, models=(way.name,), protocol=way.protocol)


def _views(volume: Volume, upscaled: UpscaledVolume, way: Way, options: UpscaleOptions) -> list[pathlib.Path]:
    """Writes the picture and the page of before and after that are asked for."""
    written = []
    if options.figure is not None:
        plane = None if isinstance(way, ThroughPlane) else options.plane  # The others changed the most.
        before_after_volume(volume, upscaled.volume, options.figure, plane, way.name)
        written.append(pathlib.Path(options.figure))
    if options.report is not None:
        write_page(
            volume,
            upscaled.volume,
            options.report,
            uncertainty=upscaled.uncertainty,
            model=way.name,
            verdict=upscaled.verdict.sentence(way.name),
            overwrite=options.overwrite,
        )
        written.append(pathlib.Path(options.report))
    return written
