"""What an exported network says about itself: to its users, to `OnnxSuperResolver` and to the client."""

from typing import Any

from keras_mrisr.errors import ModelError, MrisrError
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.types import Model
from keras_mrisr.version import __version__

_TERMS = {"lgg": "CC BY-NC-SA 4.0, as the LGG set that they were trained on (cite Buda et al. 2019)"}
_UNKNOWN = "that of the data that they were trained on"
# Names of patients and the history of the training stay with the trained model.
_LEFT_OUT = ("data", "training", "perception")
_OF_DATA = ("separate_channels", "domain")


def metadata(generator: Model, info: ModelInfo, **options: Any) -> dict[str, Any]:
    """The metadata of an exported network: JSON values.

    Args:
        generator: Its functional `keras.Model`.
        info: Its `ModelInfo`.
        **options: How it was exported: precision, layout, size.

    Returns:
        {"scale", "channels", "neighbours", "factors", "normalization", "degradation", "generator", "metrics",
        "version" (of the program that trained it), "data": {"separate_channels", "domain"} where it has them,
        "licence" (of the weights), "exported_by", "footprint": {"radius", "period", "bytes"} for tiles, or
        None where it is not known, and the options}.
    """
    kept = {key: value for key, value in info.to_dict().items() if key not in _LEFT_OUT}
    return {
        **kept,
        **({"perception": {"value": info.perception["value"]}} if "value" in info.perception else {}),
        "data": {key: info.data[key] for key in _OF_DATA if key in info.data},
        "licence": info.data.get("licence") or _TERMS.get(info.data.get("kind", ""), _UNKNOWN),
        "exported_by": f"keras-mrisr {__version__}",
        "footprint": _footprint(generator),
        **options,
    }


def info_of(values: dict[str, Any], name: str) -> ModelInfo:
    """The `ModelInfo` in metadata.

    Args:
        values: What `metadata` made, perhaps in another version.
        name: What messages call the model.

    Raises:
        ModelError: They are not metadata of this package.
    """
    try:
        return ModelInfo.from_dict(values)
    except MrisrError as error:
        raise ModelError(
            f"{name} was not exported by mrisr: {error}. Export it with mrisr export."
        ) from error


def _footprint(generator: Model) -> dict[str, float] | None:
    from keras_mrisr.models.footprint import activation_bytes
    from keras_mrisr.models.receptive_field import receptive_field

    try:
        field = receptive_field(generator)
        return {"radius": field.radius, "period": field.period, "bytes": activation_bytes(generator)}
    except MrisrError:  # Such a network cannot be cut into tiles.
        return None
