"""The maximum of a likelihood: Fisher scoring in a trust region (Levenberg, Marquardt, Moré)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._likelihood import Likelihood

Array = NDArray[np.float64]
ITERATIONS = 300
RADIUS = 0.5, 4.0
"""First and largest length of a step of the free numbers, most of which are logarithms."""
ENOUGH = 1e-6
"""Expected rise of the log likelihood at which the search ends; an error bar is worth 0.5."""
PATIENCE = 5  # steps in a row that hardly raise the likelihood, as where there is no noise to find


class Found(NamedTuple):
    """Free numbers, minus the log likelihood there, and the Fisher information."""

    free: Array
    value: float
    fisher: Array
    converged: bool


def search(likelihood: Likelihood, start: Array) -> Found:
    """Return the maximum of the likelihood that a start leads to."""
    free, value, radius = start, likelihood.value(start), RADIUS[0]
    gradient, fisher = likelihood.derivatives(free)
    idle = 0
    for _ in range(ITERATIONS):
        step, inside = _step(gradient, fisher, radius)
        expected = float(-gradient @ step - 0.5 * step @ fisher @ step)
        if idle == PATIENCE or (expected < ENOUGH and (inside or radius >= RADIUS[0])):
            return Found(free, value, fisher, True)
        moved = likelihood.value(free + step)
        gained = (value - moved) / max(expected, 1e-300)
        if gained < 0.25:
            radius = float(np.linalg.norm(step)) / 4
        elif gained > 0.75 and not inside:
            radius = min(2 * radius, RADIUS[1])
        if gained > 1e-4:
            idle = idle + 1 if value - moved < 1e-3 else 0
            free, value = free + step, moved
            gradient, fisher = likelihood.derivatives(free)
        elif radius < 1e-9:  # rounding decides: nothing better is to be found
            return Found(free, value, fisher, expected < 1e-2)
    return Found(free, value, fisher, False)


def _step(gradient: Array, fisher: Array, radius: float) -> tuple[Array, bool]:
    """Return the step to the minimum of the quadratic model within a radius; is it inside?"""
    values, vectors = np.linalg.eigh(fisher)
    slope, least = vectors.T @ gradient, 1e-14 * values[-1] + 1e-300

    def length(damping: float) -> float:
        return float(np.linalg.norm(slope / (np.maximum(values, 0.0) + damping)))

    inside, damping = length(least) <= radius, least
    if not inside:
        low, high = np.log(least), np.log(np.linalg.norm(slope) / radius) + 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if length(np.exp(middle)) > radius else (low, middle)
        damping = float(np.exp(high))
    return -vectors @ (slope / (np.maximum(values, 0.0) + damping)), inside


def covariance(fisher: Array) -> Array:
    """Return the inverse of the Fisher information; what it does not hold has a huge variance."""
    size = np.sqrt(np.maximum(np.diag(fisher), 1e-30))
    values, vectors = np.linalg.eigh(fisher / np.outer(size, size))
    values = np.maximum(values, 1e-10 * values.max())
    return (vectors / values) @ vectors.T / np.outer(size, size)
