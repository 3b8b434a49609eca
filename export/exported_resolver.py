"""`SuperResolver` for networks that are no Keras models, but describe themselves."""

import types
from typing import Any

from keras_mrisr.errors import ModelError
from keras_mrisr.export.describe import info_of
from keras_mrisr.inference.super_resolver import SuperResolver


class ExportedSuperResolver(SuperResolver):
    """Takes what it must know of the network, such as how tiles are cut, from the metadata of its export.

    Args:
        network: Object with `predict_on_batch`: (N, ..., C) float32 to the SR array.
        metadata: What `describe.metadata` made.
        memory: See `SuperResolver`.
        name: What messages and headers call the model.

    Raises:
        ModelError: They are not metadata of this package.
    """

    def __init__(
        self, network: Any, metadata: dict[str, Any], memory: int | str | None = None, name: str = "the model"
    ) -> None:
        super().__init__(network, info_of(metadata, name), memory, name)
        self.metadata = metadata

    @property
    def _field(self) -> Any:
        return types.SimpleNamespace(radius=self._footprint["radius"], period=self._footprint["period"])

    @property
    def _cost(self) -> int:
        return self._footprint["bytes"]

    @property
    def _footprint(self) -> dict[str, int]:
        footprint = self.metadata.get("footprint")
        if footprint is None:
            raise ModelError(f"{self.name} cannot be cut into tiles. Give it the memory for whole slices.")
        return footprint
