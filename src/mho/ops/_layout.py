"""What compiled kernels get: numbers in single precision, and arrays of a known layout."""

from typing import Any

import numpy as np
from torch import Tensor


def numbers(constants: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return constants as numba gets them: float32, so that formulas stay in float32."""
    return tuple(np.asarray(c, np.float32) if np.ndim(c) else np.float32(c) for c in constants)


def layout(*tensors: Tensor) -> str:
    """Return a letter for each matrix: C where it is contiguous, as numba tells them apart."""
    return "".join("C" if t.is_contiguous() else "A" for t in tensors)
