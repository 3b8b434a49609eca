"""Options that commands share: which model upscales scans, which way they go, and who does the work."""

import argparse
import contextlib
import functools
import hashlib
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_mrisr.commands.arguments import add_perception, check_models
from keras_mrisr.errors import ConfigError
from keras_mrisr.memory import memory_limit, parse_memory

if TYPE_CHECKING:
    from keras_mrisr.cluster import DaskWorkers
    from keras_mrisr.inference.inputs import Folder, Input
    from keras_mrisr.inference.super_resolver import SuperResolver
    from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
    from keras_mrisr.inference.ways import BundledModels, Models
    from keras_mrisr.pretrained import Pretrained

log = logging.getLogger(__name__)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options about which model runs and how; `load_models` reads them."""
    parser.add_argument(
        "--model", metavar="MODEL",
        help="trained model directory, an ONNX export, or a name from mrisr models (default: of these "
        "the one that fits --scale and IN)",
    )  # fmt: skip
    add_perception(parser)
    parser.add_argument(
        "--scale", type=int, help="make planes finer by this (default: by 2, or as the model does)"
    )
    parser.add_argument(
        "--force", action="store_true",
        help="write the result also where it does not degrade to IN again, because --model was made for "
        "something else, or --degraded-by is wrong",
    )  # fmt: skip
    parser.add_argument(
        "--degraded-by", metavar="NAME", default="auto",
        help="of a model for any degradation: how IN lost its resolution, so that the result agrees with it: "
        "kspace, hamming, hann, kaiser, tukey, fermi, bicubic, lanczos, bilinear, box, blur-0.5, blur-1, "
        "blur-1.5, blur-2 (radius in HR pixels), or unknown (default: auto, told from IN where it can)",
    )  # fmt: skip
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="what the program may occupy in all, such as 2GB (default: what is free)",
    )
    parser.add_argument(
        "--engine", choices=("auto", "keras", "onnxruntime", "openvino", "ncnn"), default="auto",
        help="what runs the network: keras, or of an ONNX export or bundled model one that needs no "
        "TensorFlow (default: the fastest one installed, measured once on each machine)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"),
        help="what the network computes in: bfloat16 is several times as fast on a processor with AMX or "
        "AVX512-BF16, by OpenVINO, with errors of a fraction of a grey level of 255; auto is the faster one "
        "(default: auto for what one command line names; float32 for studies, which machines may share)",
    )  # fmt: skip
    parser.add_argument(
        "--providers",
        metavar="NAME,...",
        help="of an ONNX export: where it runs, such as cuda,cpu (default: the best that is installed)",
    )


def add_worker_options(parser: Any) -> None:
    """The options about who does the work on many scans; `workers_for` reads them."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--workers",
        metavar="N",
        type=int,
        help="work in so many processes, which share the cores (needs Dask)",
    )
    who.add_argument(
        "--dask", metavar="ADDRESS",
        help="work on the workers of this Dask scheduler, such as tcp://10.0.0.1:8786; they must see "
        "the same files",
    )  # fmt: skip


@contextlib.contextmanager
def workers_for(options: argparse.Namespace) -> "Iterator[Models | DaskWorkers]":
    """The models for scans, or workers that load them, as the options of `add_worker_options` say."""
    memory = None if options.memory is None else parse_memory(options.memory)
    if options.workers is None and options.dask is None:
        with memory_limit(memory):
            yield load_models(options, None, memory)
        return
    from keras_mrisr.cluster import DaskWorkers

    if options.model is not None:
        check_models(options.model)
    if options.workers is not None and memory is not None:
        memory //= max(options.workers, 1)
    names = (
        "model", "scale", "engine", "precision", "providers", "consistency", "force", "perception",
        "degraded_by",
    )  # fmt: skip
    chosen = argparse.Namespace(**{name: getattr(options, name) for name in names})
    if chosen.model is not None and os.path.exists(chosen.model):
        chosen.model = os.path.abspath(chosen.model)
    load = functools.partial(load_models, chosen, None, memory)
    with DaskWorkers(load, options.dask, options.workers, memory) as workers:
        yield workers


def add_way_options(parser: argparse.ArgumentParser) -> Any:
    """The options about thick slices that `way_options` reads; returns their group."""
    slices = parser.add_argument_group(
        "of thick slices",
        "Where the largest spacing is over 1.5 times the smallest, slices are made as thin as their pixels "
        "are wide; other volumes get finer planes.",
    )
    ways = slices.add_mutually_exclusive_group()
    for way, what in (("through-plane", "make slices thin"), ("in-plane", "make planes finer")):
        ways.add_argument(
            f"--{way}", dest="way", action="store_const", const=way, help=f"{what}, whatever IN holds"
        )
    slices.add_argument(
        "--spacing", metavar="MM",
        help="make voxels of this size, such as 1 or 0.8x0.8x1 (default: the smallest of IN, on all axes)",
    )  # fmt: skip
    return slices


def way_options(options: argparse.Namespace) -> dict[str, Any]:
    """What of `UpscaleOptions` the options of `add_model_options` and `add_way_options` say."""
    from keras_mrisr.inference.target_grid import parse_spacing

    if options.scale is not None and options.scale < 2:
        raise ConfigError(f"--scale must be 2 or more. Received: {options.scale}")
    spacing = None if options.spacing is None else parse_spacing(options.spacing)
    if options.scale is not None and (options.way == "through-plane" or spacing is not None):
        raise ConfigError("--scale makes planes finer. Leave it out, or --through-plane and --spacing.")
    return {
        "way": options.way if options.scale is None else "in-plane",
        "spacing": spacing,
        "refuse_mismatch": _refuses(options),
    }


def _refuses(options: argparse.Namespace) -> bool:
    """Whether a result that does not degrade to IN again is refused: what the user said is wrong then."""
    said = options.model is not None or options.degraded_by not in ("auto", "unknown")
    return said and not options.force


def result_options(options: argparse.Namespace) -> dict[str, Any]:
    """What results depend on, so that those of other options are not taken for them: plain values.

    A model, named or one of the bundled ones that may be taken, stands there with a digest of its files and
    without its path, which is nobody's business.
    """
    keys = (
        "perception", "scale", "way", "spacing", "slice_thickness", "ensemble", "consistency", "plane",
    )  # fmt: skip
    chosen = {key: getattr(options, key, None) for key in keys}
    chosen["nan"] = None if options.nan == "refuse" else options.nan
    chosen["degraded_by"] = None if options.degraded_by == "auto" else options.degraded_by
    chosen["precision"] = None if options.precision in (None, "float32") else options.precision
    from keras_mrisr.pretrained import choose_model, choose_through_plane, find_model

    if options.model is None:
        in_plane = choose_model(options.scale or 2, 1, True, consistency=bool(chosen["consistency"]))
        found = [one.folder for one, _ in filter(None, (in_plane, choose_through_plane()))]
    else:
        found = [find_model(options.model)]
    return {"model": " and ".join(map(_identity, found)), **chosen}


def _identity(path: pathlib.Path) -> str:
    """The name of a model and the first letters of a digest of its files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        if file.name == "model.json" or file.suffix in (".h5", ".keras", ".onnx", ".data"):
            with file.open("rb") as opened:
                total.update(hashlib.file_digest(opened, "sha256").digest())
    return f"{path.name} ({total.hexdigest()[:12]})"


def load_models(options: argparse.Namespace, found: "Input | Folder | None", memory: int | None) -> "Models":
    """The model that is named, or else the bundled ones that fit the input; None stands for scans."""
    if getattr(options, "consistency", False) and options.degraded_by not in ("auto", "unknown"):
        raise ConfigError(
            f"--degraded-by {options.degraded_by} makes the result agree with IN already: leave out "
            "--consistency."
        )
    if options.precision is None:
        precision = "float32" if found is None else "auto"
        options = argparse.Namespace(**{**vars(options), "precision": precision})
    return _bundled(options, found, memory) if options.model is None else _named(options, memory)


def _bundled(
    options: argparse.Namespace, found: "Input | Folder | None", memory: int | None
) -> "BundledModels":
    """The bundled models that fit the input."""
    from keras_mrisr.inference.inputs import channels_of
    from keras_mrisr.inference.ways import BundledModels
    from keras_mrisr.pretrained import choose_model, choose_through_plane, with_gan_end
    from keras_mrisr.terminal import say

    def in_plane() -> "SuperResolver":
        channels = None if found is None else channels_of(found)
        chosen = choose_model(
            options.scale or 2, channels or 1, channels is None, consistency=options.consistency
        )
        return _load_in_plane(load(*chosen), memory, options)

    def through_plane() -> "ThroughPlaneResolver":
        assert thick is not None
        _refuse_degraded_by(thick[0].name, options)
        if given := _options_of_onnx(options):
            log.warning(
                "%s makes thick slices thin, which Keras runs: %s counts for finer planes only.",
                thick[0].name, given[0],
            )  # fmt: skip
        return _load_through_plane(load(*thick), memory)

    def load(model: "Pretrained", reason: str) -> str:
        say(f"Model: {reason}")
        return str(model.folder)  # A path of the model's name would come before it.

    if options.perception:
        names = " or ".join(with_gan_end())
        raise ConfigError(f"--perception is of a model with a GAN end: give it with --model ({names}).")
    thick = choose_through_plane()
    return BundledModels(in_plane, None if thick is None else through_plane)


def _named(options: argparse.Namespace, memory: int | None) -> "SuperResolver | ThroughPlaneResolver":
    """The model that is named, of whichever task."""
    from keras_mrisr.pretrained import restores_slices

    check_models(options.model)
    if restores_slices(options.model):
        _refuse_perception(options.model, options)
        _refuse_degraded_by(options.model, options)
        if options.scale is not None:
            raise ConfigError(
                f"{options.model} makes thick slices thin: --spacing says how thin. Leave out --scale."
            )
        if given := _options_of_onnx(options):
            raise ConfigError(
                f"{options.model} makes thick slices thin, which Keras runs. Leave out {given[0]}."
            )
        return _load_through_plane(options.model, memory)
    resolver = _load_in_plane(options.model, memory, options)
    if options.scale is not None and options.scale != resolver.scale:
        raise ConfigError(
            f"{options.model} is a model for x{resolver.scale}. Received: --scale {options.scale}. "
            f"Leave that out, or choose a model for x{options.scale} (see mrisr models)."
        )
    return resolver


def _load_in_plane(model: str, memory: int | None, options: argparse.Namespace) -> "SuperResolver":
    """The model as the engine that is asked for runs it, with what is known of its images."""
    resolver = _load_engine(model, memory, options)
    resolver.degraded_by = options.degraded_by
    resolver.quiet = _refuses(options)
    return resolver


def _load_engine(model: str, memory: int | None, options: argparse.Namespace) -> "SuperResolver":
    """The model as the engine that is asked for runs it."""
    from keras_mrisr.export.onnx_resolver import OnnxSuperResolver, is_onnx
    from keras_mrisr.pretrained import WEIGHTS, find_model

    path = find_model(model)
    has_onnx, has_keras = is_onnx(path), path.suffix == ".keras" or (path / WEIGHTS).is_file()
    engine = options.engine
    # The ONNX network of a model is its fidelity end.
    needs_keras = engine == "keras" or bool(options.perception)
    if has_onnx and not (has_keras and (needs_keras or _keras_is_faster(options))):
        _refuse_for_onnx(model, options)
        providers = options.providers.split(",") if options.providers else None
        return OnnxSuperResolver.load(path, memory, providers, engine=engine, precision=options.precision)
    if given := _options_of_onnx(options):
        what = f"--model {model}; mrisr export makes one of it"
        if has_onnx:
            what = f"{'--perception' if options.perception else '--engine keras'}, which Keras runs"
        raise ConfigError(f"{given[0]} is for an ONNX export. Received: {what}.")
    from keras_mrisr.terminal import load_tensorflow

    load_tensorflow()
    from keras_mrisr.inference import SuperResolver

    return SuperResolver.load(path, memory, options.perception)


def _options_of_onnx(options: argparse.Namespace) -> list[str]:
    """Those that are given of the options that only ONNX networks have."""
    given = {
        "--engine": options.engine not in ("auto", "keras"),
        "--providers": options.providers,
        "--precision": options.precision == "bfloat16",
    }
    return [name for name, one in given.items() if one]


def _refuse_for_onnx(model: str, options: argparse.Namespace) -> None:
    """Raises ConfigError for what an ONNX export without its Keras model cannot do."""
    if options.perception:
        raise ConfigError(
            f"{model} is an ONNX export, of one --perception: leave that out, or export another one."
        )
    if options.engine == "keras":
        raise ConfigError(f"{model} is an ONNX export: leave out --engine keras.")


def _keras_is_faster(options: argparse.Namespace) -> bool:
    """Whether there is a GPU that TensorFlow may use, and onnxruntime does not; or no onnxruntime."""
    if options.engine != "auto" or options.precision == "bfloat16" or options.providers:
        return False
    try:
        import onnxruntime
    except ImportError:
        return True
    has_gpu = os.path.exists("/dev/nvidia0")
    return has_gpu and "CUDAExecutionProvider" not in onnxruntime.get_available_providers()


def _refuse_perception(model: str, options: argparse.Namespace) -> None:
    if options.perception:
        raise ConfigError(f"{model} makes thick slices thin, without a GAN end. Leave out --perception.")


def _refuse_degraded_by(model: str, options: argparse.Namespace) -> None:
    if options.degraded_by != "auto":
        raise ConfigError(
            f"{model} makes thick slices thin, whose profile is known. Leave out --degraded-by."
        )


def _load_through_plane(model: str, memory: int | None) -> "ThroughPlaneResolver":
    from keras_mrisr.terminal import load_tensorflow

    load_tensorflow()
    from keras_mrisr.inference import ThroughPlaneResolver

    return ThroughPlaneResolver.load(model, memory)
