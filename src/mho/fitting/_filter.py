"""What readings say about a state that pulses move: an extended Kalman filter. Numba kernels.

Between readings a pulse moves the state by the response, with the noise of a pulse, and ends at the
bounds; a reading has noise of its own. The filter gives, for each reading, its error against what
the readings before it predict, and the variance that this error should have.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from ..ops import twin
from ._rectified import rectified

TINY = 1e-30
moments = njit(rectified(math.erf, math.exp, min, max))


@cache
def forward(formula: Any) -> Any:
    """Return the kernel that filters trains on devices of one response.

    It takes `events` (up, device, first, reading), cells (low, high, sizes, shapes) by device, the
    response's constants, and the variance of a reading. An event is a pulse (up 1 or -1) or none
    (up 0), and perhaps a reading (else nan). It fills the state's mean and variance before and
    after each event's pulse, and the error and variance of each reading.
    """
    response = twin(formula, "numba")

    @njit
    def run(events, cells, constants, noise, before, after, errors, variances):
        ups, devices, firsts, readings = events
        low, high, size_up, size_down, shape_up, shape_down = cells
        mean = var = 0.0
        for k in range(len(ups)):
            d = devices[k]
            if firsts[k]:
                # Nothing is known before the first reading but that reading.
                mean, var = readings[k], noise
                continue
            before[k, 0], before[k, 1] = mean, var
            if ups[k] != 0:
                up = ups[k] > 0
                size, shape = (size_up[d], shape_up[d]) if up else (size_down[d], shape_down[d])
                least, most = low[d], high[d]
                step, spread = response(mean, up, size, shape, least, most, *constants)
                h = 1e-6 * (most - least)
                ahead, _ = response(mean + h, up, size, shape, least, most, *constants)
                behind, _ = response(mean - h, up, size, shape, least, most, *constants)
                slope = 1.0 + ups[k] * (ahead - behind) / (2 * h)
                std = math.sqrt(slope * slope * var + spread * spread + TINY)
                mean, var = moments(mean + ups[k] * step, std, least, most)
            after[k, 0], after[k, 1] = mean, var
            if not np.isnan(readings[k]):
                errors[k] = readings[k] - mean
                variances[k] = var + noise
                gain = var / variances[k]
                mean += gain * errors[k]
                var = gain * noise

    return run


@njit(cache=True)
def sensitivities(events, noise, d_noise, after, errors, variances, slopes, direct, d_error, d_var):
    """Differentiate the filter: fill d errors and d variances by parameters, (events, p).

    Args:
        events: as in `forward`.
        noise: variance of a reading.
        d_noise: its derivative by parameter, (p,).
        after: mean and variance of the state after each pulse, (events, 2).
        errors: of readings.
        variances: of readings.
        slopes: derivatives of (mean, variance) after a pulse by those before, (events, 2, 2).
        direct: the same by parameter, (events, 2, p).
        d_error: filled.
        d_var: filled.
    """
    ups, _, firsts, readings = events
    p = len(d_noise)
    d_mean, d_state = np.zeros(p), np.zeros(p)
    for k in range(len(ups)):
        if firsts[k]:
            d_mean[:] = 0.0
            d_state[:] = d_noise
            continue
        if ups[k] != 0:
            for i in range(p):
                m, v = d_mean[i], d_state[i]
                d_mean[i] = slopes[k, 0, 0] * m + slopes[k, 0, 1] * v + direct[k, 0, i]
                d_state[i] = slopes[k, 1, 0] * m + slopes[k, 1, 1] * v + direct[k, 1, i]
        if not np.isnan(readings[k]):
            s, v = variances[k], after[k, 1]
            gain = v / s
            for i in range(p):
                d_error[k, i] = -d_mean[i]
                d_var[k, i] = d_state[i] + d_noise[i]
                d_gain = (d_state[i] - gain * d_var[k, i]) / s
                d_mean[i] += d_gain * errors[k] + gain * d_error[k, i]
                d_state[i] = d_gain * noise + gain * d_noise[i]
