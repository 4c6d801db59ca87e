"""The learned input range against its published gradient, for each array row-slice.

dL/dr = r (sum_{x >= r} min(g, 0) - sum_{x <= -r} max(g, 0)) + decay r [unclipped > keep]
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


def published(x, g, r, decay, keep):
    """Literal, number by number."""
    total, unclipped = 0.0, 0
    for value, slope in zip(x.flatten().tolist(), g.flatten().tolist(), strict=True):
        if value >= r:
            total += min(slope, 0.0)
        if value <= -r:
            total -= max(slope, 0.0)
        unclipped += abs(value) < r
    return r * total + (decay * r if unclipped / x.numel() > keep else 0.0)


def learning(parts, place, **rule) -> tuple[Bench, torch.Tensor]:
    hw = hardware(**merged({"dac": {"bits": 8}, **parts}, {}, range={"kind": "learned", **rule}))
    bench = Bench.of(hw, place(hw))
    return bench, bench.operand.input_range.clone().requires_grad_()


@pytest.mark.parametrize("keep", [0.5, 0.83, 0.95])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_dense(array, keep):
    """Ragged slices: padding is no input, so it does not count as unclipped."""
    bench, r = learning({"array": array}, lambda hw: dense(11, 17, hw), decay=0.01, keep=keep)
    x = inputs(6, 17, size=0.8)
    weight = bench.operand.weight * bench.operand.gain[:, None]
    g = torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    y = mvm(x, replace(bench.operand, input_range=r), bench.hw, bench.geometry)
    (got,) = grad(y, r, g)
    first, decayed = 0, []
    for k, size in enumerate(bench.geometry.partition.rows):
        rows = slice(first, first + size)
        arguments = (x[:, rows], (g @ weight)[:, rows], r[k].item())
        expected = published(*arguments, 0.01, keep)
        decayed.append(expected != published(*arguments, 0.0, keep))
        assert abs(float(got[k]) - expected) <= 100 * bench.rounding(x)
        first += size
    if len(r) > 1 and keep == 0.83:
        assert len(set(decayed)) == 2, "one slice should decay and another not"


def test_convolution_counts_every_pixel_once():
    """Row-slices of whole channels; pixels that padding adds are no inputs."""
    array = {"rows": 13}  # two channels of six positions each
    place = partial(convolution, shape=PLAIN)
    bench, r = learning({"array": array}, place, decay=0.01, keep=0.6)
    x = inputs(2, CHANNELS, 4, 5, size=0.8)
    weight = (bench.operand.weight * bench.operand.gain[:, None]).reshape(OUT, CHANNELS, 3, 2)
    y = mvm(x, replace(bench.operand, input_range=r), bench.hw, bench.geometry)
    g = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    (got,) = grad(y, r, g)
    leaf = x.clone().requires_grad_()
    (slope,) = grad(F.conv2d(leaf, weight, padding=(1, 0)), leaf, g)
    for k in range(2):
        channels = slice(2 * k, 2 * k + 2)
        expected = published(x[:, channels], slope[:, channels], r[k].item(), 0.01, 0.6)
        assert abs(float(got[k]) - expected) <= 1000 * bench.rounding(x)


def test_the_range_grows_only_for_clipped_inputs_that_ask():
    """Descent on L = -y asks for more, on L = y for less; only the first moves the range."""
    bench, r = learning({}, lambda hw: dense(1, 1, hw), decay=0.0)
    operand = replace(bench.operand, weight=torch.ones(1, 1).double(), input_range=r, gain=None)
    for x, loss, moves in [(5.0, -1, True), (5.0, 1, False), (-5.0, 1, True), (0.1, -1, False)]:
        y = mvm(torch.tensor([[x]]).double(), operand, bench.hw, bench.geometry)
        (got,) = grad(loss * y.sum(), r)
        assert (got < 0) == moves
        assert moves or got == 0


def test_one_range_for_arrays_with_their_own_drivers():
    """Column-slices that are driven apart share the range: it decays once."""
    parts = {"array": {"cols": 4}, "noise": {"input": 1e-300}}
    bench, r = learning(parts, lambda hw: dense(11, 17, hw), decay=0.01, keep=0.5)
    x = inputs(6, 17) * 0.01
    (got,) = grad(mvm(x, replace(bench.operand, input_range=r), bench.hw, bench.geometry).sum(), r)
    assert abs(got.item() - 0.01 * r.item()) <= bench.rounding(x)
