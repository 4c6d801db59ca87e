"""The mean and variance of a normal number between bounds: one text for numba and torch."""

import math
from collections.abc import Callable
from typing import Any

REACH = 8.0  # standard deviations beyond which a bound holds everything, or nothing


def rectified(erf: Any, exp: Any, minimum: Any, maximum: Any) -> Callable[..., Any]:
    """Return the function (mean, std, low, high) -> moments of clip(mean + std xi, low, high).

    With a = (low - mean)/std, b = (high - mean)/std, normal density phi and distribution Phi:

        E[z]   = a Phi(a) + b (1 - Phi(b)) + phi(a) - phi(b)
        E[z^2] = a^2 Phi(a) + b^2 (1 - Phi(b)) + Phi(b) - Phi(a) + a phi(a) - b phi(b)

    and mean + std E[z], std^2 (E[z^2] - E[z]^2) for z the clipped xi.
    """
    root, norm = 1 / math.sqrt(2), 1 / math.sqrt(2 * math.pi)

    def moments(mean, std, low, high):
        mean = minimum(maximum(mean, low - REACH * std), high + REACH * std)
        a = minimum(maximum((low - mean) / std, -5 * REACH), REACH)
        b = minimum(maximum((high - mean) / std, -REACH), 5 * REACH)
        below, above = 0.5 * (1 + erf(a * root)), 0.5 * (1 - erf(b * root))
        density_a, density_b = norm * exp(-0.5 * a * a), norm * exp(-0.5 * b * b)
        first = a * below + b * above + density_a - density_b
        second = a * a * below + b * b * above + (1 - above - below)
        second = second + a * density_a - b * density_b
        return mean + std * first, std * std * maximum(second - first * first, 0.0 * second)

    return moments
