"""The words of formulas in Triton, whose functions call nothing that is not itself compiled."""

from typing import Any

import triton
import triton.language as tl


@triton.jit
def where(condition, a, b):
    """Choose element by element."""
    return tl.where(condition, a, b)


@triton.jit
def exp(x):
    """E to the power x."""
    return tl.exp(x)


@triton.jit
def log(x):
    """Natural logarithm."""
    return tl.log(x)


@triton.jit
def sqrt(x):
    """Square root, rounded correctly."""
    return tl.sqrt_rn(x)


@triton.jit
def cos(x):
    """Cosine."""
    return tl.cos(x)


@triton.jit
def abs_(x):
    """Magnitude."""
    return tl.abs(x)


@triton.jit
def floor(x):
    """The whole number below."""
    return tl.floor(x)


@triton.jit
def minimum(a, b):
    """The smaller one."""
    return tl.minimum(a, b)


@triton.jit
def maximum(a, b):
    """The larger one."""
    return tl.maximum(a, b)


@triton.jit
def lut(table, position):
    """Interpolate linearly in a table, given as its address and the index of its last value."""
    values, last = table
    left = tl.minimum(tl.maximum(position.to(tl.int32), 0), last - 1)
    share = position - left
    return tl.load(values + left) * (1 - share) + tl.load(values + left + 1) * share


WORDS: dict[str, Any] = dict(
    where=where, exp=exp, log=log, sqrt=sqrt, cos=cos, abs_=abs_, floor=floor, minimum=minimum,
    maximum=maximum, lut=lut,
)  # fmt: skip
"""By name, as the twin of a formula for Triton calls them."""
