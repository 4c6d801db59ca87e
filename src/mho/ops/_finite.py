"""Whether a tensor holds finite numbers only, without a copy of it."""

import math

from torch import Tensor


def all_finite(x: Tensor) -> bool:
    """Tell whether every value is finite.

    A sum is finite only if every term is, and costs a twentieth of the time and none of the memory
    of looking at each. A sum of finite terms may overflow, so only looking proves the contrary.
    """
    return math.isfinite(x.detach().sum()) or bool(x.isfinite().all())
