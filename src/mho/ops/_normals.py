"""Normal noise that is drawn anew for every product."""

from typing import Any

import torch
from torch import Tensor

from ._one_pass import borrowed, flat, in_memory, laid, over_chunks, random_key
from ._reuse import signed, straight_through


def standard_normal_like(x: Tensor) -> Tensor:
    """Return independent standard normal numbers of the shape, type and device of x.

    They follow torch's generator: the same seed gives the same numbers, on a CPU by a kernel that
    torch's generator seeds (torch draws its own one after the other).
    """
    if not in_memory(x):
        return torch.randn_like(x)
    from ._normal_kernels import fill

    drawn = torch.empty_like(x)
    over_chunks(fill, x.numel(), flat(drawn), random_key(), draws=True)
    return drawn


class _WithNoise(torch.autograd.Function):
    """See `with_noise`."""

    @staticmethod
    @signed
    def forward(x: Tensor, spread: Tensor) -> Tensor:
        found = laid(x, spread)
        if found is None:
            return standard_normal_like(x).mul_(spread).add_(x)
        from ._weight_kernels import add_noise

        shape, (spreads,) = found
        y = torch.empty_like(x)
        given = borrowed(x).reshape(-1), shape, *spreads, random_key(), flat(y)
        over_chunks(add_noise, x.numel(), *given, draws=True)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def with_noise(x: Tensor, spread: Tensor) -> Tensor:
    """Return x + spread noise, with the gradient of x alone.

    Args:
        x: any values.
        spread: standard deviation of Gaussian noise, broadcastable to x.
    """
    if in_memory(x, spread):
        return _WithNoise.apply(x, spread)
    with torch.no_grad():
        noise = standard_normal_like(x).mul_(spread)
    return straight_through(x, noise)
