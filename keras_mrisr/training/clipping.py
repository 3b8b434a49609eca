"""Clipping of the gradient of a whole batch, however many replicas share it out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras

from keras_mrisr.replicas import gradient_share, replica_mean
from keras_mrisr.types import Tensor

if TYPE_CHECKING:
    from keras.optimizers import Optimizer as _Base
else:
    _Base = object


class WholeGradientClipping(_Base):
    """Mixin for optimizers whose `global_clipnorm` limits the sum of the gradients of all replicas.

    Keras lets each replica clip its own gradient before the sum, which then has neither the length nor the
    direction that one device finds for the same batch. The gradients of ranks are averaged before they come
    here.
    """

    def _clip_gradients(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        share = gradient_share()
        if share == 1 or not self.global_clipnorm:
            return super()._clip_gradients(gradients)
        whole = [gradient / share for gradient in replica_mean(gradients)]
        # Each replica gives an equal share to the sum that follows.
        return [gradient * share for gradient in super()._clip_gradients(whole)]


# By Keras's name, because it is part of the path of a variable in the backup of a run.
@keras.saving.register_keras_serializable(package="keras_mrisr")
class Adam(WholeGradientClipping, keras.optimizers.Adam):
    """`keras.optimizers.Adam` that clips the gradient of the whole batch."""
