"""Arithmetic on intermediate results that reuses their memory where autograd does not need it.

A large result costs more to allocate than to compute. These functions take over their first
argument, which nobody else may use afterwards.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Given(NamedTuple):
    """Arguments that were all given by position."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def apply_defaults(self) -> None:
        """Nothing is missing."""


class _Positional(inspect.Signature):
    """A signature that binds at once."""

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return the arguments as they are; a wrong number of them is found by the call itself."""
        return _Given(args, kwargs)


def signed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a Function's forward know its signature, which torch asks for at every call.

    All arguments must be given by position.
    """
    parameters = list(inspect.signature(forward).parameters.values())
    forward.__signature__ = _Positional(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return forward


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


class _StraightThrough(torch.autograd.Function):
    """See `straight_through`."""

    generate_vmap_rule = True

    @staticmethod
    @signed
    def forward(x: Tensor, change: Tensor) -> Tensor:
        return change.add_(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_dirty(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(x: Tensor, change: Tensor) -> Tensor:
    """Return x + change in the place of `change`, with the gradient of x."""
    if torch.compiler.is_compiling():  # which cannot follow the place, and needs no help with it
        return x + change.detach()
    return _StraightThrough.apply(x, change)


class _GradientOf(torch.autograd.Function):
    """See `with_gradient_of`."""

    generate_vmap_rule = True

    @staticmethod
    @signed
    def forward(smooth: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def with_gradient_of(smooth: Tensor, value: Tensor) -> Tensor:
    """Return `value` with the gradient of `smooth`, both of one shape."""
    return _GradientOf.apply(smooth, value)
