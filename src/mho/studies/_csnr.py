"""How well a coarse converter tells discrete sums: compute signal-to-noise ratio in closed form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, RangeError


@dataclass(frozen=True)
class Csnr:
    """A converter with 2^bits levels for whole numbers i, all in units of one count.

    Attributes:
        bits: of the converter.
        first: the lowest threshold t_1.
        step: distance of two thresholds, v.
        noise: std of the Gaussian noise in front of the converter.
        variance: of the numbers.
        mse: mean square of the error about its mean; a constant error is taken away digitally.
        bias: the mean of the error.
    """

    bits: int
    first: float
    step: float
    noise: float
    variance: float
    mse: float
    bias: float

    @property
    def ratio(self) -> float:
        """Variance of the numbers over mean square error."""
        return self.variance / self.mse if self.mse else math.inf

    @property
    def decibels(self) -> float:
        """10 log10 of the ratio."""
        return 10 * math.log10(self.ratio) if self.mse else math.inf

    @property
    def thresholds(self) -> np.ndarray:
        """t_j, (2^bits - 1,)."""
        return self.first + self.step * np.arange(2**self.bits - 1)

    def __str__(self) -> str:
        last = self.thresholds[-1]
        return (
            f"{self.bits} bits, thresholds {self.first:g} to {last:g} in steps of {self.step:g}: "
            f"CSNR {self.decibels:.2f} dB, bias {self.bias:+.3g}"
        )


def csnr(
    pmf: Sequence[float] | np.ndarray, noise: float, *, bits: int, first: float, step: float
) -> Csnr:
    """Return the compute signal-to-noise ratio of a uniform converter for discrete signals.

    A number i of probability p_i arrives as i + noise xi; thresholds t_1 ... t_M, M = 2^bits - 1,
    are `step` v apart, and the values of the codes lie in the middle between them. With the normal
    distribution Phi,

        E_i  = t_M + v/2 - i - v sum_j Phi((t_j - i) / noise)
        MSE  = sum_i p_i [(t_M + v/2 - i)^2 - 2 v sum_j (t_j - i) Phi((t_j - i) / noise)]
               - (sum_i p_i E_i)^2
        CSNR = var(i) / MSE

    Source: arXiv 2507.09776, with its volts divided by the volts of one count. Valid for uniform
    thresholds; a threshold that is met exactly without noise counts as half.

    Args:
        pmf: p_0 ... p_N, probabilities of the numbers.
        noise: std, in counts.
        bits: of the converter, at least 1.
        first: t_1, in counts.
        step: v, in counts.

    Raises:
        DataError: no probabilities, or all numbers are one.
        RangeError: a noise, step or number of bits that has no meaning.
    """
    p = _probabilities(pmf)
    if not 1 <= bits <= 16:
        raise RangeError(
            f"bits must be 1 to 16, got {bits}: a converter needs at least two levels."
        )
    if not (noise >= 0 and step > 0 and math.isfinite(first)):
        raise RangeError(f"noise must be 0 or more and step above 0, got {noise} and {step}.")
    i = np.arange(len(p), dtype=float)
    mean = float(p @ i)
    variance = float(p @ (i - mean) ** 2)
    if variance == 0:
        raise DataError("all numbers are one, so that there is no signal; give a wider pmf.")
    t = first + step * np.arange(2**bits - 1)
    mse, bias = _errors(p, i, t, step, noise)
    return Csnr(bits, float(first), float(step), float(noise), variance, mse, bias)


def best_thresholds(pmf: Sequence[float] | np.ndarray, noise: float, bits: int) -> Csnr:
    """Return the uniform thresholds with the highest CSNR for discrete signals.

    With a level for each number, t_1 = 1/2 and a step of 1 tell all of them apart. Otherwise
    every step of k counts and every first threshold l + 1/2 is tried: thresholds in the middle
    between two numbers stand the most noise. Thresholds leave out no more of the numbers on both
    sides than they must, or what is rare: clipping it may cost less than a wider step.

    Source: the search of arXiv 2507.09776 (CACTUS).

    Args:
        pmf: p_0 ... p_N, probabilities of the numbers.
        noise: std, in counts.
        bits: of the converter.
    """
    p = _probabilities(pmf)
    largest, count = len(p) - 1, 2**bits - 1
    if count >= largest:
        return csnr(p, noise, bits=bits, first=0.5, step=1.0)
    found: list[Csnr] = []
    for step in range(1, -(-(largest + 1) // (count + 1)) + 1):
        room = largest - 1 - (count - 1) * step
        for first in range(min(0, room), max(0, room) + 1):
            found.append(csnr(p, noise, bits=bits, first=first + 0.5, step=float(step)))
    return max(found, key=lambda result: result.ratio)


def _errors(
    p: np.ndarray, i: np.ndarray, t: np.ndarray, v: float, noise: float
) -> tuple[float, float]:
    from scipy.special import ndtr

    likely = p > 0
    p, i = p[likely], i[likely]
    above = t[:, None] - i
    phi = ndtr(above / noise) if noise else np.heaviside(above, 0.5)
    top = t[-1] + v / 2 - i
    bias = float(p @ (top - v * phi.sum(0)))
    square = float(p @ (top**2 - 2 * v * (above * phi).sum(0)))
    return max(square - bias**2, 0.0), bias


def _probabilities(pmf: Sequence[float] | np.ndarray) -> np.ndarray:
    p = np.asarray(pmf, float)
    if p.ndim != 1 or len(p) < 2 or not np.isfinite(p).all() or (p < 0).any():
        raise DataError("pmf must be at least two probabilities p_0 ... p_N, none below 0.")
    if abs(p.sum() - 1) > 1e-6:
        raise DataError(f"the probabilities add up to {p.sum():.6g}, not 1: divide by their sum.")
    return p / p.sum()
