"""Pulsed devices, written from the published formulas in float64, one pulse at a time.

The responses are those of IBM's aihwkit (M. Rasch et al., AICAS 2021, arXiv 2104.02184; its
rpu_*_device.cpp) and of Z. Wu et al., NeurIPS 2025, arXiv 2502.06309. Every pulse takes the state,
the direction, the cell, and one standard normal number, and returns the new state.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Cell(NamedTuple):
    """One cell, or arrays of them: bounds, step sizes, and the response's second number."""

    bmin: Array
    bmax: Array
    s_up: Array
    s_down: Array
    k_up: Array
    k_down: Array


Pulse = Callable[[Array, bool, Cell, Array], Array]


def bounded(w, cell):
    return np.minimum(np.maximum(w, cell.bmin), cell.bmax)


def constant_step(sigma) -> Pulse:
    def pulse(w, up, cell, xi):
        w = w + cell.s_up * (1 + sigma * xi) if up else w - cell.s_down * (1 + sigma * xi)
        return bounded(w, cell)

    return pulse


def linear_step(sigma, mult_noise=True) -> Pulse:
    def pulse(w, up, cell, xi):
        s, k, sign = (cell.s_up, cell.k_up, 1) if up else (cell.s_down, cell.k_down, -1)
        if mult_noise:
            w = w + sign * (s + k * w) * (1 + sigma * xi)
        else:
            w = w + sign * (k * w + s * (1 + sigma * xi))
        return bounded(w, cell)

    return pulse


def soft_bounds(sigma, mult_noise=True) -> Pulse:
    def pulse(v, up, cell, xi):
        s, b, sign = (cell.s_up, cell.bmax, 1) if up else (cell.s_down, cell.bmin, -1)
        a = v / b
        if mult_noise:
            v = v + sign * s * (1 - a) * (1 + sigma * xi)
        else:
            v = v + sign * s * (1 - a + sigma * xi)
        return bounded(v, cell)

    return pulse


def exponential_step(sigma, a_up, a_down, g_up, g_down, a, b, std_add=0.0, std_slope=0.0) -> Pulse:
    def pulse(w, up, cell, xi):
        z = 2 * w / (cell.bmax - cell.bmin) * a + b
        if up:
            dw = np.maximum(1 - a_up * np.exp(g_up * z), 0) * cell.s_up
        else:
            dw = -np.maximum(1 - a_down * np.exp(g_down * (-z)), 0) * cell.s_down
        if std_add or std_slope:
            along = xi if up else -xi  # as everywhere here, xi > 0 is a larger pulse
            w = w + dw + sigma * (np.abs(dw) + std_add + std_slope * np.abs(w)) * along
        else:
            w = w + dw * (1 + sigma * xi)
        return bounded(w, cell)

    return pulse


def power_step(sigma) -> Pulse:
    def pulse(w, up, cell, xi):
        span = cell.bmax - cell.bmin
        if up:
            w = w + cell.s_up * ((cell.bmax - w) / span) ** cell.k_up * (1 + sigma * xi)
        else:
            w = w - cell.s_down * ((w - cell.bmin) / span) ** cell.k_down * (1 + sigma * xi)
        return bounded(w, cell)

    return pulse


def piecewise_step(sigma, v_up, v_down) -> Pulse:
    """With a list of factors, as published; sigma may be a pair of tables (measured noise)."""

    def between(table, q, k):
        t = np.minimum(q - k, 1)
        table = np.asarray(table, float)
        return (1 - t) * table[k] + t * table[k + 1]

    def pulse(w, up, cell, xi):
        n = len(v_up) - 1
        q = np.maximum((w - cell.bmin) / (cell.bmax - cell.bmin) * n, 0)
        k = np.minimum(np.floor(q), n - 1).astype(int)
        s, sign, factor = (
            (cell.s_up, 1, between(v_up, q, k)) if up else (cell.s_down, -1, between(v_down, q, k))
        )
        if isinstance(sigma, tuple):
            return bounded(
                w + sign * s * (factor + between(sigma[0 if up else 1], q, k) * xi), cell
            )
        return bounded(w + sign * s * factor * (1 + sigma * xi), cell)

    return pulse


def power_response(sigma, g) -> Pulse:
    """Equation of q+ and q- with tau the cell's bound in that direction."""

    def pulse(w, up, cell, xi):
        q = (1 - w / cell.bmax) ** g if up else (1 + w / -cell.bmin) ** g
        s, sign = (cell.s_up, 1) if up else (cell.s_down, -1)
        return bounded(w + sign * s * q * (1 + sigma * xi), cell)

    return pulse


def exponential_response(sigma, g) -> Pulse:
    """Equation of q+ and q- with tau the cell's bound in that direction."""

    def pulse(w, up, cell, xi):
        way = 1 - w / cell.bmax if up else 1 + w / -cell.bmin
        q = (np.exp(g * way) - 1) / (np.exp(g) - 1)
        s, sign = (cell.s_up, 1) if up else (cell.s_down, -1)
        return bounded(w + sign * s * q * (1 + sigma * xi), cell)

    return pulse


def hidden_step(sigma, levels, span) -> Pulse:
    """A level and a hidden counter: where it reaches 1, it restarts at 0, one level further.

    The counter does not go on beyond the outermost levels; `span` is the range of the mean cell.
    """

    def pulse(v, up, cell, xi):
        spacing = (cell.bmax - cell.bmin) / (levels - 1)
        level = np.floor((v - cell.bmin) / spacing + 0.5)
        hidden = (v - (cell.bmin + level * spacing)) / (spacing / 2)
        size = (cell.s_up if up else cell.s_down) / (span / (levels - 1) / 2)
        hidden = hidden + (1 if up else -1) * size * (1 + sigma * xi)
        switches = np.abs(hidden) >= 1 - 2e-4
        level = level + np.where(switches, np.sign(hidden), 0)
        hidden = np.where(switches, 0, hidden)
        return bounded(cell.bmin + level * spacing + hidden * spacing / 2, cell)

    return pulse


class Drawn(NamedTuple):
    """A population of cells and what they keep for life."""

    bmin: Array
    bmax: Array
    s_up: Array
    s_down: Array


def draw(
    rng, n, *, dw_min=0.001, dw_min_dtod=0.0, log_normal=False, up_down=0.0, up_down_dtod=0.0,
    w_min=-1.0, w_max=1.0, w_min_dtod=0.0, w_max_dtod=0.0, corrupt=0.0, corrupt_range=np.inf,
) -> Drawn:  # fmt: skip
    """Draw n cells, item by item as in PulsedRPUDevice::populate with consistency enforced."""
    bmax = w_max * (1 + w_max_dtod * rng.standard_normal(n))
    bmin = w_min * (1 + w_min_dtod * rng.standard_normal(n))
    xi = rng.standard_normal(n)
    gain = np.exp(dw_min_dtod * xi) if log_normal else 1 + dw_min_dtod * xi
    r = up_down_dtod * rng.standard_normal(n)
    up_bias, down_bias = (0.0, -up_down) if up_down > 0 else (up_down, 0.0)
    s_up = np.abs((gain + up_bias + r) * dw_min)
    s_down = np.abs((gain + down_bias - r) * dw_min)
    swap = bmin > bmax
    bmin, bmax = np.where(swap, bmax, bmin), np.where(swap, bmin, bmax)
    bmin, bmax = -np.abs(bmin), np.abs(bmax)
    dead = rng.random(n) < corrupt
    low, high = np.maximum(bmin, -corrupt_range), np.minimum(bmax, corrupt_range)
    value = low + (high - low) * rng.random(n)
    return Drawn(
        np.where(dead, value, bmin),
        np.where(dead, value, bmax),
        np.where(dead, 0.0, s_up),
        np.where(dead, 0.0, s_down),
    )


def symmetry_point(cells: Drawn) -> Array:
    """Soft bounds: w* = (s+ - s-) / (s+/bmax - s-/bmin)."""
    slope = cells.s_up / cells.bmax - cells.s_down / cells.bmin
    return (cells.s_up - cells.s_down) / slope
