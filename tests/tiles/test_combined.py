"""All noise together with all other effects: the law of the outputs is the literal product's."""

import numpy as np
import pytest
import torch

from .bench import Bench, dense, hardware, inputs
from .statistics import check_same_law, sample
from .test_convolution import PLAIN, convolution
from .test_effects import SCHEMES, merged

N, LITERAL = 30_000, 800
NOISE = {"input": 0.15, "output": 0.1, "output_spread": 0.3}
EVERYTHING = {
    "noise": {**NOISE, "read": {"kind": "pcm_read", "sigma": 0.15}},
    "dac": {"bits": 4, "asymmetry": 0.2, "rounding": "stochastic", "range": "calibrated"},
    "adc": {
        "bits": 5,
        "bound": 1.5,
        "rounding": "stochastic",
        "asymmetry": 0.2,
        "gain_spread": 0.1,
        "offset_spread": 0.05,
        "transfer": {"kind": "compressive", "nonlinearity": 0.3},
        "front_end": {"offset_spread": 0.05, "series_resistance": 0.1},
    },
}
ARRAY = {"rows": 3, "cols": 2, "wires": {"kind": "first_order", "conductance_ratio": 100.0}}


def literal(bench: Bench, x: torch.Tensor, n: int) -> np.ndarray:
    return bench.literal(x.expand(n, *x.shape), seed=5).reshape(n, -1).numpy()


def check(bench: Bench, x: torch.Tensor, n: int = LITERAL) -> None:
    check_same_law(sample(bench, x, N), literal(bench, x, n), bench.rounding(x))


@pytest.mark.parametrize("scheme", ["one_pass", "analog", "digital", "serial_2"])
def test_dense(scheme):
    hw = hardware(**merged(EVERYTHING, ARRAY, **SCHEMES[scheme]))
    check(Bench.of(hw, dense(4, 5, hw), size=0.8), inputs(5))


@pytest.mark.parametrize("rule", ["fixed", "per_token"])
def test_ranges_with_additive_noise(rule):
    noise = {**NOISE, "read": {"kind": "additive", "sigma": 0.15}}
    hw = hardware(**merged({**EVERYTHING, "noise": noise}, ARRAY, range=rule))
    check(Bench.of(hw, dense(4, 5, hw), size=0.8), inputs(5))


def test_retries():
    """The number of reads is random, array by array."""
    adc = {**EVERYTHING["adc"], "overflow": "retry"}
    hw = hardware(**merged({**EVERYTHING, "adc": adc}, ARRAY))
    check(Bench.of(hw, dense(4, 5, hw), size=0.8), inputs(5) * 2)


def test_bit_slices():
    mapping = {"kind": "bit_sliced", "bits": 5, "slice_bits": 2}
    hw = hardware(**merged({**EVERYTHING, "mapping": mapping}, ARRAY))
    check(Bench.of(hw, dense(4, 5, hw), size=0.8), inputs(5))


@pytest.mark.parametrize("shape", [{}, {"groups": 2}], ids=["plain", "grouped"])
def test_convolution(shape):
    hw = hardware(**merged(EVERYTHING, {**ARRAY, "rows": 6}))
    small = convolution(hw, {**PLAIN, **shape}, channels=2, out=4)
    check(Bench.of(hw, small, size=0.8), inputs(2, 2, 2), LITERAL // 2)
