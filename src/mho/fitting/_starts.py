"""Where the search for a response starts: from the readings' range, steps and their noise."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ._trace import Trace

WINDOW = 15  # steps over which their mean is taken to be smooth


class Guess(NamedTuple):
    """What readings tell at a glance, in relative weights.

    Attributes:
        low: smallest reading.
        high: largest.
        up: step up where the state moves, not where it is at a bound; `down` likewise.
        down: see up.
        cycle: noise of a pulse relative to the mean step.
        reading: standard deviation of a reading.
        run: most pulses in one direction without a break.
    """

    low: float
    high: float
    up: float
    down: float
    cycle: float
    reading: float
    run: int


def guess(trace: Trace, zero: float, scale: float) -> Guess:
    """Look at a trace.

    Between readings of noise r after pulses of noise q, the changes of equal pulses have the
    variance q^2 + 2 r^2, and neighbours the covariance -r^2.

    Raises:
        DataError: readings do not change in the direction of the pulses.
    """
    smallest, largest = ((end - zero) / scale for end in trace.range)
    totals: dict[int, float] = {1: 0.0, -1: 0.0}
    squares, applied = dict(totals), _applied(trace)
    variances: list[float] = []
    covariances: list[float] = []
    longest = 1
    for train in trace.trains:
        values = (train.values - zero) / scale
        changes, signs = np.diff(values), np.sign(train.pulses[1:])
        for start, stop in _runs(signs):
            sign, counts = int(signs[start]), np.abs(train.pulses[1 + start : 1 + stop])
            longest = max(longest, int(counts.sum()))
            trend = _smooth(changes[start:stop])
            totals[sign] += float(changes[start:stop].sum()) * sign
            squares[sign] += float((trend**2 / counts).sum())
            rest = changes[start:stop] - trend
            variances += list(rest**2)
            covariances += list(rest[1:] * rest[:-1])
    span = largest - smallest
    steps = {sign: totals[sign] / max(applied[sign], 1) for sign in totals}
    _check_directions(trace, steps, applied, span)
    # The mean over the way, not over pulses: pulses at a bound count for nothing.
    up, down = (
        max(squares[sign] / totals[sign] if totals[sign] > 0 else 0.0, 1e-4 * span / longest)
        for sign in (1, -1)
    )
    variance = max(float(np.mean(variances)), 1e-12 * span**2)
    noise = -float(np.mean(covariances)) if covariances else 0.0
    noise = min(max(noise, 0.02 * variance), 0.49 * variance)
    cycle = np.sqrt(variance - 2 * noise) / (up + down) * 2
    return Guess(smallest, largest, up, down, float(cycle), float(np.sqrt(noise)), longest)


def _applied(trace: Trace) -> dict[int, int]:
    up, down = trace.applied()
    return {1: up, -1: down}


def _check_directions(
    trace: Trace, steps: dict[int, float], applied: dict[int, int], span: float
) -> None:
    if span <= 0:
        raise DataError(f"{trace.name}: all readings are equal; nothing answers the pulses")
    if all(steps[sign] < 0 for sign in steps if applied[sign]):
        raise DataError(
            f"{trace.name}: readings fall with pulses up and rise with pulses down; "
            "turn the sign of the pulses"
        )


def _runs(signs: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Beginnings and ends of runs of pulses in one direction."""
    edges = [0, *(np.flatnonzero(np.diff(signs)) + 1), len(signs)]
    return [(a, b) for a, b in pairwise(edges) if signs[a] != 0]


def _smooth(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running mean of changes."""
    width = min(WINDOW, len(changes))
    count = np.convolve(np.ones(len(changes)), np.ones(width), "same")
    return np.convolve(changes, np.ones(width), "same") / count
