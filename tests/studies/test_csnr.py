"""CSNR: the closed form against Monte Carlo and limits, and the best thresholds."""

import math

import numpy as np
import pytest
from scipy.stats import binom

import mho
from mho.errors import DataError, RangeError

N = 256
PMF = binom.pmf(np.arange(N + 1), N, 0.25)
NOISE = 0.5e-3 / (0.9 / (1.3 * N))
"""The published example: 0.5 mV of noise, 0.9 V / (1.3 N) for each count."""


@pytest.mark.parametrize(
    ("bits", "first", "step", "noise"),
    [(6, 34.5, 1.0, NOISE), (5, 35.5, 2.0, 0.7), (4, 20.5, 7.0, 3.0), (3, 0.5, 32.0, 0.2),
     (1, 64.5, 10.0, 1.0), (6, 10.2, 1.7, 2.0)],
)  # fmt: skip
def test_the_closed_form_is_that_of_random_numbers(bits, first, step, noise):
    """n conversions: bias and variance of the error within 5 standard errors."""
    found = mho.csnr(PMF, noise, bits=bits, first=first, step=step)
    rng, n = np.random.default_rng(bits), 1_000_000
    i = rng.binomial(N, 0.25, n)
    x = i + noise * rng.standard_normal(n)
    code = np.searchsorted(found.thresholds, x)
    error = first - step / 2 + step * code - i
    fourth = ((error - error.mean()) ** 4).mean()
    assert abs(error.mean() - found.bias) < 5 * error.std() / math.sqrt(n)
    assert abs(error.var() - found.mse) < 5 * math.sqrt((fourth - error.var() ** 2) / n)
    assert found.variance == pytest.approx(N * 0.25 * 0.75)
    assert found.ratio == found.variance / found.mse


def test_without_noise_numbers_that_are_told_apart_have_no_error():
    found = mho.csnr(PMF, 0.0, bits=9, first=0.5, step=1.0)
    assert found.mse < 1e-9
    assert found.decibels > 100


def test_a_wide_step_has_the_error_of_rounding():
    """Numbers spread evenly over steps of k without noise: variance (k^2 - 1) / 12."""
    flat = np.full(64, 1 / 64)
    found = mho.csnr(flat, 0.0, bits=4, first=3.5, step=4.0)
    assert found.mse == pytest.approx((16 - 1) / 12)
    assert found.bias == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6])
def test_no_other_half_integer_thresholds_are_better(bits):
    """Against every step and offset, also those that the search leaves out."""
    best = mho.best_thresholds(PMF, NOISE, bits)
    for step in range(1, -(-257 // 2**bits) + 3):
        for first in range(0, 256, 3):
            other = mho.csnr(PMF, NOISE, bits=bits, first=first + 0.5, step=float(step))
            assert other.ratio <= best.ratio * (1 + 1e-12)


def test_enough_bits_tell_all_numbers_apart():
    found = mho.best_thresholds(PMF, NOISE, 9)
    assert (found.first, found.step) == (0.5, 1.0)
    few = mho.best_thresholds(PMF[:256] / PMF[:256].sum(), NOISE, 8)  # 256 numbers, 256 levels
    assert (few.first, few.step) == (0.5, 1.0)
    assert few.thresholds[-1] == 254.5


def test_one_level_too_few_leaves_out_the_rarest_number():
    """Five numbers and four levels: 0 and 1 are rare, 3 and 4 are not."""
    found = mho.best_thresholds([0.02, 0.08, 0.2, 0.3, 0.4], 0.1, 2)
    assert (found.first, found.step) == (1.5, 1.0)


def test_three_bits_fewer_and_six_decibels_more():
    """The claim of arXiv 2507.09776, against a converter over the full range 0 ... N."""
    best = mho.best_thresholds(PMF, NOISE, 6)
    full = mho.csnr(PMF, NOISE, bits=9, first=N / 2**9, step=N / 2**9)
    assert best.decibels > full.decibels + 6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bits": 0}, RangeError, "at least two levels"),
        ({"noise": -1.0}, RangeError, "noise must be 0 or more"),
        ({"step": 0.0}, RangeError, "step above 0"),
        ({"pmf": [1.0]}, DataError, "at least two probabilities"),
        ({"pmf": [0.5, 0.2]}, DataError, "add up to 0.7, not 1"),
        ({"pmf": [1.5, -0.5]}, DataError, "none below 0"),
        ({"pmf": [0.0, 1.0, 0.0]}, DataError, "no signal"),
    ],
)
def test_bad_input(change, error, message):
    fields = {"pmf": PMF, "noise": 1.0, "bits": 4, "first": 0.5, "step": 1.0, **change}
    with pytest.raises(error, match=message):
        mho.csnr(fields.pop("pmf"), fields.pop("noise"), **fields)


def test_the_search_refuses_what_has_no_levels():
    with pytest.raises(RangeError, match="at least two levels"):
        mho.best_thresholds(PMF, NOISE, 0)
