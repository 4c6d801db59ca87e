"""Normal noise that is drawn anew for every product."""

import torch
from torch import Tensor

from ._one_pass import flat, in_memory, random_key
from ._threads import over_rows


def standard_normal_like(x: Tensor) -> Tensor:
    """Return independent standard normal numbers of the shape, type and device of x.

    They follow torch's generator: the same seed gives the same numbers, on a CPU by a kernel that
    torch's generator seeds (torch draws its own one after the other).
    """
    if not in_memory(x):
        return torch.randn_like(x)
    from ._normal_kernels import CHUNK, fill

    drawn = torch.empty_like(x)
    over_rows(fill, -(-x.numel() // CHUNK), flat(drawn), random_key())
    return drawn
