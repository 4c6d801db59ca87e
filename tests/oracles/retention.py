"""Retention of memory cells, written from the published formulas, in microsiemens and float64.

Each model is three functions of numbers or arrays: what one programming event leaves, where that
has drifted to after t seconds, and what is then read. The last argument is standard normal.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Oracle(NamedTuple):
    """The three laws of a model, and the range to which its published code clips what is read."""

    programmed: Callable[[Array, Array], Array]  # (target, xi)
    drifted: Callable[[Array, Array, float, Array], Array]  # (programmed, target, t, xi)
    read: Callable[[Array, Array, float, Array], Array]  # (programmed, drifted, t, xi)
    clipped: Callable[[Array, float], Array] = lambda g, t: np.maximum(g, 0)


def no_drift(programmed, target, t, xi):
    return programmed


def no_read_noise(programmed, drifted, t, xi):
    return drifted


def one_over_f(t, t0, t_read):
    """Growth of 1/f noise, t seconds after programming ended (Nandakumar et al., ICECS 2019)."""
    return np.sqrt(np.log((t + t0 + t_read) / (2 * t_read)))


def ideal() -> Oracle:
    return Oracle(lambda target, xi: target, no_drift, no_read_noise)


def pcm(g_max: float = 25.0) -> Oracle:
    """Joshi et al., Nat. Commun. 11:2473 (2020), as in IBM's aihwkit, inference/noise/pcm.py."""

    def programmed(target, xi):
        r = target / g_max
        sigma = (0.26348 + 1.9650 * r - 1.1731 * r**2) * g_max / 25.0
        return np.maximum(target + sigma * xi, 0)

    def drifted(programmed, target, t, xi):
        logarithm = np.log(np.maximum(target / g_max, 1e-7))
        mean = np.clip(-0.0155 * logarithm + 0.0244, 0.049, 0.1)
        std = np.clip(-0.0125 * logarithm - 0.0059, 0.008, 0.045)
        return programmed * ((t + 20.0) / 20.0) ** (-np.abs(mean + std * xi))

    def read(programmed, drifted, t, xi):
        q = np.minimum(0.0088 / np.maximum((programmed / g_max) ** 0.65, 1e-3), 0.2)
        return np.maximum(drifted + drifted * q * one_over_f(t, 20.0, 250e-9) * xi, 0)

    return Oracle(programmed, drifted, read)


def hermes(devices: int) -> Oracle:
    """HERMES chip, one or two devices; IBM's aihwkit, inference/noise/hermes.py."""
    g_max, t0 = (10.35, 200.0) if devices == 1 else (20.7, 300.0)

    def programmed(target, xi):
        r = target / g_max
        if devices == 1:
            sigma = 0.15781817 + 2.32443916 * r - 2.16310839 * r**2 + 0.68841818 * r**3
        else:
            sigma = 0.16603222 + 4.71806468 * r - 8.48101252 * r**2 + 4.68961419 * r**3
        return np.maximum(target + sigma * xi, 0)

    def drifted(programmed, target, t, xi):
        r = np.maximum(target / g_max, 1e-7)
        logarithm = np.log(r)
        low = np.clip(-0.0387 * logarithm - 0.0182, 0.0720, 0.13)
        mean = np.where(r < 0.0945, low, -0.0436 * r**2 - 0.0126 * r + 0.0736)
        if devices == 1:
            low = np.clip(-0.0120 * logarithm - 0.0023, 0.0124, 0.04)
            std = np.where(r < 0.3039, low, -0.0165 * r**2 + 0.0116 * r + 0.0104)
        else:
            low = np.clip(-0.0117 * logarithm - 0.0057, 0.0091, 0.04)
            std = np.where(r < 0.3055, low, -0.0118 * r**2 + 0.0093 * r + 0.0073)
        return programmed * ((t + t0) / t0) ** (-np.abs(mean + std * xi))

    def read(programmed, drifted, t, xi):
        r = programmed / g_max
        logarithm = np.log(np.maximum(r, 1e-300))
        if devices == 1:
            low = np.clip(-0.0078 * logarithm + 0.0038, 0.0179, 0.04)
            q = np.where(r < 0.1591, low, 0.0664 * r**3 - 0.1352 * r**2 + 0.0768 * r + 0.0088)
        else:
            low = np.clip(-0.0117 * logarithm - 0.0069, 0.015, 0.04)
            q = np.where(r < 0.16, low, 0.0069 * r**3 - 0.0280 * r**2 + 0.0211 * r + 0.0123)
        return np.maximum(drifted + drifted * q * one_over_f(t, t0, 512e-9) * xi, 0)

    return Oracle(programmed, drifted, read)


def afm(g_max: float = 25.0) -> Oracle:
    """Buechel et al., NeurIPS 2025; IBM/analog-foundation-models, apply_noise_model.py."""
    one = [2.939751381126213e-05, -0.00371581208142707, 0.22419685954327148, 2.5797410660159494]
    two = [1.2329755395573392e-05, -0.003054993405157235, 0.2453487119885723, 2.110295720240385]

    def programmed(target, xi):
        w = target / g_max * 180
        size = np.abs(w)
        sigma = np.where(size > 52.5, np.polyval(two, size), np.polyval(one, size))
        return np.where(size < 0.6, 0.0, w + sigma * xi) / 180 * g_max

    return Oracle(programmed, no_drift, no_read_noise, lambda g, t: g)


def reram_wan(g_max: float = 40.0) -> Oracle:
    """Wan et al., Nature 608:504 (2022); fits of IBM's aihwkit, which are in uS at 40 uS."""
    quartics = {  # highest power first
        1.0: [-16.815, 45.393, -43.853, 16.030, 0.348],
        86400.0: [-16.458, 47.095, -50.773, 22.086, 0.701],
        172800.0: [-11.934, 37.062, -43.507, 20.274, 0.782],
    }

    def at(target, t, xi):
        sigma = np.polyval(quartics[t], target / g_max) * g_max / 40.0
        return np.maximum(target + sigma * xi, 0)

    def drifted(programmed, target, t, xi):
        return programmed if t == 0 else at(target, t, xi)

    return Oracle(lambda target, xi: at(target, 1.0, xi), drifted, no_read_noise)


def cmo_hfox(acceptance: float = 0.2, g_min: float = 9.0, g_max: float = 88.199997) -> Oracle:
    """Falcone et al., arXiv:2502.04524; IBM's aihwkit, inference/noise/reram.py."""
    c0, c1 = {0.2: (0.00081107, 0.00106879), 2: (0.0112185391, 0.01129027418)}[acceptance]

    def programmed(target, xi):
        return target + (c0 + c1 * target) * xi

    def drifted(programmed, target, t, xi):
        if t == 0:
            return programmed
        mean = programmed - 0.08900206 * np.log(t)
        return mean + (0.04201137 * np.log(t) + 0.41183342) * xi

    def read(programmed, drifted, t, xi):
        if t == 0:
            return programmed
        sigma = 0.0277316483 * np.log10(drifted) * one_over_f(t, 0.0, 1e-6)
        return clipped(drifted + sigma * xi, t)

    def clipped(g, t):
        return g if t == 0 else np.clip(g, g_min, g_max)

    return Oracle(programmed, drifted, read, clipped)


def state_independent(g_max: float = 25.0) -> Oracle:
    """Generic model of IBM's aihwkit, inference/noise/custom.py; in uS whatever g_max."""

    def programmed(target, xi):
        return np.maximum(target + 0.2 * xi, 0)

    def drifted(programmed, target, t, xi):
        return programmed * ((t + 20.0) / 20.0) ** (-np.abs(0.1 + 0.05 * xi))

    def read(programmed, drifted, t, xi):
        return np.maximum(drifted + drifted / g_max * one_over_f(t, 20.0, 250e-9) * xi, 0)

    return Oracle(programmed, drifted, read)
