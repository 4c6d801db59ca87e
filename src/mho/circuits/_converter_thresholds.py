"""Thresholds of converters that compare a signal with one level for each code."""

from typing import Literal

import torch
from torch import Tensor

from ._draws import Draws


def ideal_thresholds(half: int) -> Tensor:
    """Return the 2n thresholds k - 1/2, k = -n + 1 ... n, in steps."""
    return torch.arange(-half + 1, half + 1) - 0.5


def drawn_thresholds(
    draws: Draws,
    half: int,
    dnl: float,
    inl: float,
    *,
    per: Literal["array"] | int | None = None,
) -> Tensor | None:
    """Draw thresholds, (row-slices, columns, 2n), ascending; None where they are all ideal.

        t_k <- t_k + dnl xi_k + inl xi (1 - (t_k / n)^2)

    A code is the number of thresholds below the signal, whatever their order, so they are sorted.
    """
    if not dnl and not inl:
        return None
    ideal = ideal_thresholds(half)
    t = ideal
    if dnl:
        xi = draws.normal("thresholds", len(ideal), per=per)
        t = t.to(xi.device) + dnl * xi
    if inl:
        xi = draws.normal("bow", 1, per=per)
        t = t.to(xi.device) + inl * xi * (1 - (ideal.to(xi.device) / half) ** 2)
    return t.sort(-1).values
