"""Noise of the cells: its form on the outputs is exactly that of a matrix drawn for each vector."""

import numpy as np
import pytest
import torch

from .bench import Bench, dense, hardware, inputs
from .statistics import ERRORS, check_same_law, sample
from .test_effects import merged

N = 60_000
KINDS = {"additive": np.ones_like, "pcm_read": lambda w: np.sqrt(np.abs(w))}


@pytest.mark.parametrize("kind", KINDS)
def test_against_sampled_weights(kind):
    """Means and covariances; outputs of one column are as independent as its cells are."""
    hw = hardware(noise={"read": {"kind": kind, "sigma": 0.2}}, array={"rows": 4})
    bench = Bench.of(hw, dense(5, 7, hw))
    x = inputs(7).clamp(-1, 1)
    random, matrix = np.random.default_rng(2), bench.matrix()
    y, first = np.zeros((N, 5)), 0
    for r, size in enumerate(matrix.rows):
        rows = slice(first, first + size)
        scale = matrix.scale[r][:, None]
        relative = matrix.weight[:, rows] / scale
        noise = 0.2 * KINDS[kind](relative) * random.standard_normal((N, 5, size))
        y += np.einsum("noj,j->no", (relative + noise) * scale, x.numpy()[rows])
        first += size
    check_same_law(sample(bench, x, N), y * matrix.gain, bench.rounding(x))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_gaussian(kind):
    """E[d^4] = 3 var^2; its standard error is sqrt((E[d^8] - 9 var^4)/n) = sqrt(96/n) var^2."""
    hw = hardware(noise={"read": {"kind": kind, "sigma": 0.2}})
    bench = Bench.of(hw, dense(5, 7, hw))
    y = sample(bench, inputs(7), N)
    d = (y - y.mean(0)) / y.std(0)
    assert (np.abs((d**4).mean(0) - 3) < ERRORS * np.sqrt(96 / N)).all()


def test_it_grows_with_the_current_and_vanishes_without_input():
    """Doubling the input doubles the noise; a column of zeros is silent for PCM only."""
    for kind in KINDS:
        hw = hardware(noise={"read": {"kind": kind, "sigma": 0.2}})
        bench = Bench.of(hw, dense(2, 4, hw))
        bench.operand.weight[1] = 0
        x = torch.full((4,), 0.3, dtype=torch.float64)
        one, two = sample(bench, x, N).std(0), sample(bench, 2 * x, N, seed=1).std(0)
        error = ERRORS * np.sqrt(1 / N)  # two relative errors of 1/sqrt(2 n) each
        assert abs(two[0] / one[0] - 2) < 2 * error
        if kind == "pcm_read":
            assert one[1] == two[1] == 0
        else:
            assert abs(two[1] / one[1] - 2) < 2 * error
        assert (sample(bench, 0 * x, 10) == 0).all()


def test_bit_slices_are_noisy_each_by_its_significance():
    mapping = {"kind": "bit_sliced", "bits": 5, "slice_bits": 2}
    noise = {"read": {"kind": "additive", "sigma": 0.2}}
    hw = hardware(**merged({"mapping": mapping, "noise": noise}, {}))
    bench = Bench.of(hw, dense(3, 4, hw))
    x = inputs(4).clamp(-1, 1)
    # Digits of 2 bits of a weight of 4 bits and sign: factors 1 * 3/15 and 4 * 3/15.
    factor = np.sqrt((3 / 15) ** 2 + (12 / 15) ** 2)
    scale = bench.operand.scale[0, :3] * bench.operand.gain
    expected = 0.2 * factor * (scale * x.norm()).numpy()
    ratio = sample(bench, x, N).std(0) / expected
    assert (np.abs(ratio - 1) < ERRORS / np.sqrt(2 * N)).all()


def test_output_asymmetry_acts_on_it_and_not_on_the_noise_of_the_read_out():
    """Negative signals weaker by a: a Gaussian of std s gets the mean a s / sqrt(2 pi)."""
    a, s, out = 0.4, 0.3, 0.2
    noise = {"output": out, "read": {"kind": "additive", "sigma": s}}
    hw = hardware(noise=noise, adc={"asymmetry": a})
    bench = Bench.of(hw, dense(3, 4, hw))
    bench.operand.weight.zero_()
    scale = (bench.operand.scale[0] * bench.operand.gain).numpy()
    y = sample(bench, torch.full((4,), 0.5, dtype=torch.float64), N) / scale
    mean = a * s / np.sqrt(2 * np.pi)
    variance = s**2 * (1 + (1 - a) ** 2) / 2 - mean**2 + out**2
    assert (np.abs(y.mean(0) - mean) < ERRORS * np.sqrt(variance / N)).all()
    spread = (y - y.mean(0)) ** 2
    assert (np.abs(spread.mean(0) - variance) < ERRORS * spread.std(0) / np.sqrt(N)).all()
