"""Where does a growing function of a strength cross zero?"""

import math
from collections.abc import Callable
from typing import NamedTuple


class Crossing(NamedTuple):
    """The strengths between which a function changes its sign; None where it never does.

    Attributes:
        below: the largest strength found at which the function is below 0.
        above: the smallest one found at which it is not.
    """

    below: float | None
    above: float | None


def crossing(
    function: Callable[[float], float], *, smallest: float, largest: float, steps: int
) -> Crossing:
    """Look from 1 towards the end where the sign may change: the end itself, then by doubling.

    Then the logarithm is bisected `steps` times, so that the ratio of the two strengths is at most
    2^(2^-steps).
    """
    start = min(1.0, largest)
    growing = function(start) < 0
    end = largest if growing else smallest
    if start == end or (function(end) < 0) == growing:
        return Crossing(end, None) if growing else Crossing(None, end)
    here, trial = start, _next(start, growing)
    while smallest < trial < largest and (function(trial) < 0) == growing:
        here, trial = trial, _next(trial, growing)
    there = min(max(trial, smallest), largest)
    below, above = (here, there) if growing else (there, here)
    for _ in range(steps):
        middle = math.sqrt(below * above)
        below, above = (middle, above) if function(middle) < 0 else (below, middle)
    return Crossing(below, above)


def _next(strength: float, growing: bool) -> float:
    return 2 * strength if growing else strength / 2
