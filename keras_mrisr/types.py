"""Names for the types that recur in signatures."""

import os
from collections.abc import Callable
from typing import Any

PathLike = str | os.PathLike[str]
Tensor = Any  # A tensor of whichever backend Keras runs on, or a NumPy array; shapes stand in the docstrings.
Model = Any  # A `keras.Model`; Keras is imported only where it is needed.
Progress = Callable[[int, int], None]  # Called with how much is done so far, and how much there is in all.
Shape = tuple[Any, ...]  # Of a tensor; None for what is known at run time only.
