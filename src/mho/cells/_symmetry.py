"""Symmetry points: the states at which a step up is as large as a step down."""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
HALVINGS = 60  # 2^-60 of the range, below the resolution of float64


def has_symmetry_point(difference: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Whether step up minus step down falls through 0 between the bounds.

    Alternating pulses then lead there from anywhere; otherwise they lead to a bound.
    """
    return (difference(low) >= 0) & (difference(high) <= 0)


def crossing(difference: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Return where step up minus step down falls through 0, by bisection of all cells at once.

    Args:
        difference: (step up) - (step down) at states of the shape of the bounds.
        low: lower bounds.
        high: upper bounds.

    Returns:
        States between the bounds; 0 where every state is one; nan where there is none.
    """
    left, right = low.copy(), high.copy()
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        above = difference(middle) > 0
        left, right = np.where(above, middle, left), np.where(above, right, middle)
    point = (left + right) / 2
    at_zero = np.clip(np.zeros_like(low), low, high)
    point = np.where(difference(at_zero) == 0, at_zero, point)
    return np.where(has_symmetry_point(difference, low, high), point, np.nan)
