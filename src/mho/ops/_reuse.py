"""Arithmetic on intermediate results that reuses their memory where autograd does not need it.

A large result costs more to allocate than to compute. These functions take over their first
argument, which nobody else may use afterwards.
"""

import torch
from torch import Tensor


def differentiable(*tensors: Tensor | float) -> bool:
    """Whether autograd follows any of the values, so that none may be changed in place."""
    if not torch.is_grad_enabled():
        return False
    return any(isinstance(value, Tensor) and value.requires_grad for value in tensors)


def times(x: Tensor, factor: Tensor | float) -> Tensor:
    """Return x * factor, in the place of x; a tensor factor must broadcast to x."""
    return x * factor if differentiable(x, factor) else x.mul_(factor)


def plus(x: Tensor, term: Tensor | float, factor: float = 1) -> Tensor:
    """Return x + factor * term, in the place of x; a tensor term must broadcast to x."""
    if differentiable(x, term):
        return x + term if factor == 1 else x + factor * term
    return x.add_(term, alpha=factor)
