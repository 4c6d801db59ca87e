"""Every noise alone: exact means and covariances, within an array and between arrays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mho.tiles import Columns, Convolution

from .bench import Bench, dense, hardware, inputs, patches
from .statistics import (
    ERRORS,
    check_moments,
    check_successive_vectors_are_independent,
    sample,
)
from .test_convolution import PLAIN, convolution
from .test_effects import merged

N = 30_000
NOISES = {
    "input": {"noise": {"input": 0.1}},
    "output": {"noise": {"output": 0.1}},
    "output_spread": {"noise": {"output": 0.1, "output_spread": 0.4}},
    "additive": {"noise": {"read": {"kind": "additive", "sigma": 0.1}}},
    "pcm": {"noise": {"read": {"kind": "pcm_read", "sigma": 0.1}}},
    "dac_rounding": {"dac": {"bits": 3, "rounding": "stochastic"}},
    # Steps far smaller than the signals, so that no level is a rare event.
    "adc_rounding": {"adc": {"bits": 12, "bound": 9.0, "rounding": "stochastic"}},
    "additive_with_input": {"noise": {"input": 0.2, "read": {"kind": "additive", "sigma": 0.2}}},
    "pcm_with_output": {"noise": {"output": 0.3, "read": {"kind": "pcm_read", "sigma": 0.2}}},
    "pcm_with_input": {"noise": {"input": 0.2, "read": {"kind": "pcm_read", "sigma": 0.2}}},
}
SCHEMES = {
    "one_pass": None,
    "analog": {"kind": "positive_negative"},
    "digital": {"kind": "positive_negative", "sum": "digital"},
    "serial": {"kind": "bit_serial", "slice_bits": 2},
}
ARRAYS = {"one": {}, "ragged": {"rows": 4, "cols": 3}}


def moments(bench: Bench, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean (outputs,) and covariance of the product of one input, array by array."""
    geometry, groups = bench.geometry, 1
    vectors = x[None].numpy()
    if isinstance(geometry, Convolution):
        groups, (vectors, _) = geometry.groups, patches(geometry, x[None])
    pixels, out = len(vectors), geometry.out
    vectors = vectors.reshape(pixels, groups, -1)
    mean, cov = np.zeros((out, pixels)), np.zeros((out, pixels, out, pixels))
    first = 0
    for r, size in enumerate(geometry.partition.rows):
        owner = np.repeat(np.arange(len(geometry.partition.columns)), geometry.partition.columns)
        for pixel, group in np.ndindex(pixels, groups):
            v = vectors[pixel, group, first : first + size]
            for array in np.unique(owner):
                inside = (owner == array) & (np.arange(out) // (out // groups) == group)
                mine = np.flatnonzero(inside)
                y, c = _array(bench, v, r, slice(first, first + size), mine)
                mean[mine, pixel] += y
                cov[np.ix_(mine, [pixel], mine, [pixel])] += c[:, None, :, None]
        first += size
    return mean.ravel(), cov.reshape(out * pixels, out * pixels)


def _array(bench, v, r, rows, mine):
    hw, operand = bench.hw, bench.operand
    noise, half = hw.noise, hw.dac.half_steps
    scale = operand.scale[r, mine].numpy()
    w = operand.weight[mine, rows].numpy() / scale[:, None]
    v = np.clip(v, -1, 1)
    reads = [(1.0, v)]
    if hw.dac.scheme.kind == "bit_serial":
        v = v if hw.dac.rounding == "stochastic" else np.rint(v * half) / half
        reads = list(_digits(v, half, 2**hw.dac.scheme.slice_bits))
    elif hw.dac.scheme.kind == "positive_negative":
        reads = [(1.0, np.maximum(v, 0)), (-1.0, np.maximum(-v, 0))]
    serial = hw.dac.scheme.kind == "bit_serial"
    # Per row: the drivers' noise, drawn for each digit, or once where reads only share the signs.
    rows_var = np.full(len(v), noise.input**2 * (sum(f**2 for f, _ in reads) if serial else 1.0))
    if hw.dac.rounding == "stochastic":
        share = v * half - np.floor(v * half)
        rows_var = share * (1 - share) / half**2
    cov = (w * rows_var) @ w.T
    spread = operand.columns.noise
    factor = 1.0 if spread is None else spread[r, mine].numpy()
    for f, part in reads:
        conversions = len(reads) if not serial and not hw.dac.scheme.digital_sum else 1
        own = (noise.output * factor) ** 2 * np.ones(len(mine)) / conversions
        # E[v^2] of a noisy row: the noise of a row is in the read that drives it.
        squares = part**2 + noise.input**2 / (1 if serial else len(reads))
        if noise.read:
            size = np.abs(w) if noise.read.per_weight else np.ones_like(w)
            own = own + noise.read.sigma**2 * (size @ squares)
        cov += f**2 * np.diag(own)
    y = w @ v
    if hw.adc.rounding == "stochastic":
        step = hw.adc.bound / hw.adc.half_steps
        for f, part in reads if hw.dac.scheme.digital_sum else [(1.0, v)]:
            share = (w @ part) / step - np.floor((w @ part) / step)
            cov += f**2 * np.diag(share * (1 - share) * step**2)
    unit = scale * operand.gain[mine].numpy()
    return y * unit, cov * np.outer(unit, unit)


def _digits(v, half, base):
    codes, k = np.rint(v * half), 0
    while base**k <= half:
        digits = np.sign(codes) * (np.abs(codes) // base**k % base)
        yield base**k * (base - 1) / half, digits / (base - 1)
        k += 1


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_dense(noise, array):
    hw = hardware(**merged(noise, array))
    bench = Bench.of(hw, dense(5, 7, hw))
    x = inputs(7)
    y = sample(bench, x, N)
    check_moments(y, *moments(bench, x), bench.rounding(x))
    check_successive_vectors_are_independent(y)


@pytest.mark.parametrize("scheme", ["analog", "digital", "serial"])
@pytest.mark.parametrize("noise", NOISES)
def test_schemes(noise, scheme):
    """Drivers and cells are noisy in each read, converters in each conversion."""
    parts = merged(NOISES[noise], ARRAYS["ragged"], scheme=SCHEMES[scheme])
    parts["dac"].setdefault("bits", 7 if scheme == "serial" else None)
    hw = hardware(**parts)
    bench = Bench.of(hw, dense(5, 7, hw))
    x = inputs(7)
    check_moments(sample(bench, x, N), *moments(bench, x), bench.rounding(x))


@pytest.mark.parametrize("shape", [{}, {"groups": 2}], ids=["plain", "grouped"])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_convolution(noise, shape):
    """Each pixel is a product of its own: padding is driven with noise, and pixels share none."""
    hw = hardware(**merged(noise, {"rows": 6, "cols": 3}))
    bench = Bench.of(hw, convolution(hw, {**PLAIN, **shape}, channels=2, out=4))
    x = inputs(2, 2, 3)
    check_moments(sample(bench, x, 10_000), *moments(bench, x), bench.rounding(x))


@pytest.mark.parametrize("place", ["dense", "convolution"])
@pytest.mark.parametrize(
    ("effect", "variance"),
    [
        # Each driven row adds sigma^2 E[v^2] to the noise of the cells.
        ({"noise": {"input": 0.5, "read": {"kind": "additive", "sigma": 0.5}}}, 0.5**4),
        # And -2 V v to the current of a reference of 1 that has the voltage offset V.
        ({"noise": {"input": 0.5}, "adc": {"front_end": {}}}, (2 * 0.3 * 0.5) ** 2),
    ],
    ids=["cells", "reference"],
)
def test_only_used_rows_are_driven(effect, variance, place):
    """Ragged slices are padded to equal length for speed; padding has no drivers."""
    hw = hardware(**merged(effect, {"rows": 4, "partition": "greedy"}))
    if place == "dense":
        geometry, x = dense(2, 5, hw), torch.zeros(N, 5).double()
    else:
        shape = {"kernel": (5,), "stride": (1,), "dilation": (1,), "padding": ((0, 0),)}
        geometry, x = convolution(hw, shape, channels=1, out=2), torch.zeros(N, 1, 5).double()
    bench = Bench.of(hw, geometry)
    offset = Columns(front_end=torch.full((2, 2), 0.3).double())
    operand = replace(bench.operand, weight=torch.zeros(2, 5).double(), columns=offset, gain=None)
    torch.manual_seed(0)
    y = replace(bench, operand=operand).product(x).reshape(N, 2)
    scale = bench.operand.scale
    expected = variance * (4 * scale[0] ** 2 + scale[1] ** 2)  # slices of 4 rows and of 1
    # A sum of products of Gaussians has at most the kurtosis 9 of one product.
    assert ((y.var(0) / expected - 1).abs() < ERRORS * (8 / N) ** 0.5).all()
