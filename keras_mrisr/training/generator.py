"""The generator of a run: built, compiled, and started from another run's weights."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.config import RunConfig
from keras_mrisr.config_sections import ImageTraining
from keras_mrisr.errors import ConfigError
from keras_mrisr.factors import scale_text
from keras_mrisr.losses.psnr import PSNRLoss
from keras_mrisr.models.registry import GENERATORS, build_generator
from keras_mrisr.models.storage import load_info, load_trained
from keras_mrisr.replicas import replica_count
from keras_mrisr.training.muon import make_optimizer, scheduled_rate
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.types import Model, PathLike

log = logging.getLogger(__name__)

# Options of generators that only change how features become an image.
_UPSAMPLING = {"direct_upsampling", "smooth_upsampling"}


def compiled_generator(config: RunConfig, channels: int) -> Model:
    """Builds and compiles what `config` asks for, in the distribution scope that it is called in.

    Args:
        config: A `RunConfig`.
        channels: Channels of the data.

    Returns:
        A compiled `keras.Model` whose variables are float32 whatever the precision.
    """
    training = config.training
    options = dict(config.generator)
    # Replicas that normalise by statistics of their own end with different models.
    if replica_count() > 1 and "synchronized" in _parameters(options["name"]):
        options.setdefault("synchronized", True)
    with dtype_policy(training.precision):
        model = build_generator(
            scale=config.scale, channels=channels, neighbours=config.data.neighbours, **options
        )
    return compile_network(model, training)


def compile_network(model: Model, training: ImageTraining, end: float = 0.0) -> Model:
    """Compiles a network as the `training` of a config says, and returns it.

    Args:
        model: The network.
        training: An `ImageTraining`.
        end: See `scheduled_rate`.
    """
    rate = scheduled_rate(training, end)
    optimizer = make_optimizer(training.optimizer, rate, training.clip_norm, training.optimizer)
    model.compile(optimizer, loss=PSNRLoss() if training.loss == "psnr" else training.loss)
    return model


def start_from(config: RunConfig, init: PathLike, model: Model, key: str = "training.init") -> None:
    """Starts `model`, a generator or an `SRGAN`, from the weights of a trained model.

    A generator with more residual blocks than the trained one starts as the same function: the further
    blocks begin as identities (Chen et al. 2016, "Net2Net", section 2.3), and thin layers at full resolution
    (`thin_layers`), which the trained one may lack, begin with adding nothing. So does one that takes more
    neighbouring slices: the first kernel is zero for those that the trained one did not see. One that
    upscales its features otherwise (`direct_upsampling`, `smooth_upsampling`) takes over the layers that fit
    and learns the others from nothing; an `SRGAN` must not, because it needs a trained start.

    Args:
        config: The `RunConfig`.
        init: Directory of the trained model.
        model: The model of this run.
        key: Config key that `init` was given as, for messages.

    Raises:
        ConfigError: No such model, or one of another scale, generator or number of channels, or of more
            neighbouring slices.
    """
    trained, info = load_trained(init)
    generators = trained_networks(model)
    if check_init(config, init, generators[0] is not model, key):
        log.info("%s upscales its features otherwise: that part is learnt from nothing", init)
    for generator in generators:
        channels = generator.output_shape[-1]
        if info.channels != channels:
            raise ConfigError(
                f"{key}: {init} has {info.channels} channels, the data {channels}. "
                "Choose a model of such data."
            )
        _copy_layers(trained, generator)


def trained_networks(model: Model) -> list[Model]:
    """The generator of an `SRGAN` and its average, or the model itself: what starts from a trained one."""
    names = ("generator", "average_generator")
    return [getattr(model, name) for name in names if hasattr(model, name)] or [model]


def check_init(config: RunConfig, init: PathLike, adversarial: bool, key: str = "training.init") -> bool:
    """Raises ConfigError for what `start_from` refuses but for channels, which only the data tell.

    Args:
        config: The `RunConfig`.
        init: Directory of the trained model.
        adversarial: Whether an `SRGAN` starts from it.
        key: See `start_from`.

    Returns:
        Whether layers are left to be learnt from nothing.
    """
    info = load_info(init)
    old, new = _with_defaults(info.generator), _with_defaults(config.generator)
    differ = _differences(old, new)
    if info.factors != config.factors or not differ <= (set() if adversarial else _UPSAMPLING):
        other = ", ".join(f"{key} {old.get(key)} there and {new.get(key)} here" for key in sorted(differ))
        way = ", or give it to the first stage as adversarial.pretraining.init" if adversarial else ""
        raise ConfigError(
            f"{key}: {init} is {info.generator} at scale {info.scale_text}, this run is "
            f"{config.generator} at scale {scale_text(config.scale)}"
            + (f" ({other})" if other else "")
            + f". Choose the same generator and scale; only blocks may be more{way}."
        )
    if info.neighbours > config.data.neighbours:
        raise ConfigError(
            f"{key}: {init} takes {info.neighbours} neighbour(s) on each side, this run "
            f"{config.data.neighbours}. Set data.neighbours to {info.neighbours} or more."
        )
    return bool(differ)


def _differences(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    """The options in which two generators differ, but for what the new one may grow by."""
    differ = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    grown = {"blocks"} if new.get("blocks", 0) > old.get("blocks", 0) else set()
    if not old.get("thin_layers"):
        grown |= {"thin_layers", "thin_filters"}
    if not old.get("thin_noise"):
        grown.add("thin_noise")
    return differ - grown


def _copy_layers(trained: Model, generator: Model) -> None:
    known = {layer.name: layer for layer in trained.layers}
    for layer in generator.layers:
        weights = known[layer.name].get_weights() if layer.name in known else None
        if weights is not None and not _fits(weights, layer.get_weights()):
            continue
        if weights is not None:
            layer.set_weights([_widened(*pair) for pair in zip(weights, layer.get_weights(), strict=True)])
        elif layer.name.endswith("_conv2"):
            layer.set_weights([0 * weight for weight in layer.get_weights()])


def _fits(old: Sequence[np.ndarray], new: Sequence[np.ndarray]) -> bool:
    """Whether weights are of a layer of the same filters."""
    return [array.shape[-1:] for array in old] == [array.shape[-1:] for array in new]


def _widened(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """`old`, with zeros for the input channels of neighbouring slices that it lacks on both sides."""
    missing = new.shape[-2] - old.shape[-2] if old.ndim > 2 else 0
    padding = [(0, 0)] * old.ndim
    padding[-2:-1] = [(missing // 2, missing // 2)] * (old.ndim > 2)
    return np.pad(old, padding)


def _with_defaults(generator: dict[str, Any]) -> dict[str, Any]:
    """The options of a builder with those left out filled in, so that two ways to say it compare equal."""
    # Statistics over replicas are a matter of training: the model is the same.
    options = {key: parameter.default for key, parameter in _parameters(generator.get("name")).items()}
    return {**options, **generator, "synchronized": None}


def _parameters(name: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(GENERATORS[name]).parameters if name in GENERATORS else {}
