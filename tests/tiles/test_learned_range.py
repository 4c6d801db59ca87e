"""The learned input range against its published gradient, for each array row-slice.

dL/dr = r (sum_{x >= r} min(g, 0) - sum_{x <= -r} max(g, 0)), and what decay needs to know: the
share of clipped inputs
(Buechel et al., NeurIPS 2025, arXiv 2505.09663; Rasch et al., Nat. Commun. 14:5282, 2023).
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from mho.tiles import mvm

from .bench import Bench, dense, hardware, inputs
from .test_convolution import CHANNELS, OUT, PLAIN, convolution
from .test_effects import ARRAYS, merged


def published(x, g, r):
    """Literal, number by number: the gradient, and the share of clipped inputs."""
    total, clipped = 0.0, 0
    for value, slope in zip(x.flatten().tolist(), g.flatten().tolist(), strict=True):
        if value >= r:
            total += min(slope, 0.0)
        if value <= -r:
            total -= max(slope, 0.0)
        clipped += abs(value) >= r
    return r * total, clipped / x.numel()


def learning(parts, place) -> tuple[Bench, torch.Tensor, torch.Tensor]:
    hw = hardware(**merged({"dac": {"bits": 8}, **parts}, {}, range={"kind": "learned"}))
    bench = Bench.of(hw, place(hw))
    ranges = bench.operand.input_range.clone().requires_grad_()
    return bench, ranges, torch.zeros(2, len(ranges), requires_grad=True)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_dense(array):
    """Ragged slices: padding is no input, so it does not count as unclipped."""
    bench, r, clipped = learning({"array": array}, lambda hw: dense(11, 17, hw))
    x = inputs(6, 17, size=0.8)
    weight = bench.operand.weight * bench.operand.gain[:, None]
    g = torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    operand = replace(bench.operand, input_range=r, clipped=clipped)
    got, counted = grad(mvm(x, operand, bench.hw, bench.geometry), (r, clipped), g)
    first, shares = 0, []
    for k, size in enumerate(bench.geometry.partition.rows):
        rows = slice(first, first + size)
        slope, share = published(x[:, rows], (g @ weight)[:, rows], r[k].item())
        assert abs(float(got[k]) - slope) <= 100 * bench.rounding(x)
        assert abs(float(counted[0, k]) - share) <= 1e-6
        assert counted[1, k] == 1
        shares.append(share)
        first += size
    assert min(shares) > 0
    assert max(shares) < 1


def test_convolution_counts_every_pixel_once():
    """Row-slices of whole channels; pixels that padding adds are no inputs."""
    array = {"rows": 13}  # two channels of six positions each
    place = partial(convolution, shape=PLAIN)
    bench, r, clipped = learning({"array": array}, place)
    x = inputs(2, CHANNELS, 4, 5, size=0.8)
    weight = (bench.operand.weight * bench.operand.gain[:, None]).reshape(OUT, CHANNELS, 3, 2)
    operand = replace(bench.operand, input_range=r, clipped=clipped)
    y = mvm(x, operand, bench.hw, bench.geometry)
    g = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    got, counted = grad(y, (r, clipped), g)
    leaf = x.clone().requires_grad_()
    (slope,) = grad(F.conv2d(leaf, weight, padding=(1, 0)), leaf, g)
    for k in range(2):
        channels = slice(2 * k, 2 * k + 2)
        expected, share = published(x[:, channels], slope[:, channels], r[k].item())
        assert abs(float(got[k]) - expected) <= 1000 * bench.rounding(x)
        assert abs(float(counted[0, k]) - share) <= 1e-6
        assert 0 < share < 1


def test_the_range_grows_only_for_clipped_inputs_that_ask():
    """Descent on L = -y asks for more, on L = y for less; only the first moves the range."""
    bench, r, _ = learning({}, lambda hw: dense(1, 1, hw))
    operand = replace(bench.operand, weight=torch.ones(1, 1).double(), input_range=r, gain=None)
    for x, loss, moves in [(5.0, -1, True), (5.0, 1, False), (-5.0, 1, True), (0.1, -1, False)]:
        y = mvm(torch.tensor([[x]]).double(), operand, bench.hw, bench.geometry)
        (got,) = grad(loss * y.sum(), r)
        assert (got < 0) == moves
        assert moves or got == 0


def test_one_range_for_arrays_with_their_own_drivers():
    """Column-slices that are driven apart share the range: its inputs count once."""
    parts = {"array": {"cols": 4}, "noise": {"input": 1e-300}}
    bench, r, clipped = learning(parts, lambda hw: dense(11, 17, hw))
    x = inputs(6, 17) * 0.01
    operand = replace(bench.operand, input_range=r, clipped=clipped)
    got, counted = grad(mvm(x, operand, bench.hw, bench.geometry).sum(), (r, clipped))
    assert got.item() == 0
    assert counted.flatten().tolist() == [0, 1]
