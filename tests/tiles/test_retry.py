"""Iterative bound management: each vector on each array by itself."""

from dataclasses import replace

import pytest
import torch

from .bench import Bench, dense, hardware, inputs
from .test_convolution import SHAPES, SIZES, convolution, image
from .test_effects import ARRAYS, RANGES, SCHEMES, merged

RETRY = {"dac": {"bits": 8}, "adc": {"bits": 8, "bound": 0.37, "overflow": "retry"}}
SATURATE = {**RETRY, "adc": {**RETRY["adc"], "overflow": "saturate"}}


def both(parts: dict, geometry=dense, sizes=(11, 17)) -> tuple[Bench, Bench]:
    """The same arrays with and without retries."""
    hw = hardware(**parts)
    retry = Bench.of(hw, geometry(*sizes, hw))
    adc = hw.adc.with_fields(overflow="saturate")
    return retry, replace(retry, hw=hw.with_fields(adc=adc))


def spread_inputs() -> torch.Tensor:
    """From far below to far above the bound."""
    return inputs(8, 17) * torch.logspace(-2, 1.5, 8, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("rule", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("scheme", ["one_pass", "analog", "digital", "serial_2"])
def test_against_the_literal_product(scheme, rule, array):
    retry, saturate = both(merged(RETRY, array, range=rule, **SCHEMES[scheme]))
    x = spread_inputs()
    retry.check(x)
    changed = (retry.product(x) != saturate.product(x)).any(1)
    assert changed.any()
    assert not changed.all()


def test_without_levels():
    parts = {"adc": {"bound": 0.37, "overflow": "retry"}}
    retry, _ = both(merged(parts, ARRAYS["ragged"], range="calibrated"))
    retry.check(spread_inputs())


@pytest.mark.parametrize("name", ["plain", "grouped", "depthwise", "transposed_strided"])
@pytest.mark.parametrize(("size", "columns"), [("channel", 3), ("cut", 3), ("one", 4)])
def test_convolutions(name, size, columns):
    """A vector is a pixel's patch; an array's columns may belong to several groups, or to parts."""
    hw = hardware(**merged(RETRY, {**SIZES[size], "cols": columns}))
    Bench.of(hw, convolution(hw, SHAPES[name])).check(image(SHAPES[name], 1))


def test_a_clipped_vector_changes_no_other():
    retry, _ = both(merged(RETRY, ARRAYS["ragged"], range="per_token"))
    x = inputs(7, 17)
    x[:3, 1:] *= 0.01  # vectors whose largest entry stands alone: their outputs stay small
    together = retry.product(x)
    for n in range(len(x)):
        alone = retry.product(x[n : n + 1])[0]
        assert (alone - together[n]).abs().max() <= retry.rounding(x)


def test_an_array_that_does_not_clip_is_not_read_again():
    """Its finer codes stay: only the columns beside a saturated one are read with less drive."""
    retry, saturate = both(merged(RETRY, {"rows": None, "cols": 5}))
    gain = retry.operand.weight.clone()
    gain[:4] *= 20  # the first of three arrays clips
    gain[4:] *= 0.02
    benches = [replace(b, operand=replace(b.operand, weight=gain)) for b in (retry, saturate)]
    read_again, once = (b.product(inputs(4, 17)[:3]) for b in benches)
    assert (read_again[:, :4] != once[:, :4]).any(1).all()
    assert torch.equal(read_again[:, 4:], once[:, 4:])


@pytest.mark.parametrize(("bits", "factor"), [(8, 32), (4, 2), (None, 1024)])
def test_it_gives_up(bits, factor):
    """When a step of the DAC exceeds a quarter of the drive, 4 f > 2^(bits-1) - 1, or f > 1000."""
    parts = {"dac": {"bits": bits}, "adc": {"bound": 1e-6, "overflow": "retry"}}
    hw = hardware(**parts)
    bench = Bench.of(hw, dense(3, 4, hw))
    bench = replace(bench, operand=replace(bench.operand, weight=torch.ones(3, 4).double()))
    y = bench.product(torch.ones(1, 4).double())
    expected = bench.operand.scale[0] * bench.operand.gain * 1e-6 * factor
    torch.testing.assert_close(y[0], expected, rtol=1e-14, atol=0)


def test_gradient_passes_where_the_last_read_fits():
    """A vector whose first read saturates has its gradient through the second."""
    retry, saturate = both({"adc": {"bound": 1.0, "overflow": "retry"}})
    x = inputs(5, 17)[:4].requires_grad_()
    small = [replace(b, operand=replace(b.operand, gain=None)) for b in (retry, saturate)]
    grads = [torch.autograd.grad(b.product(x).sum(), x)[0] for b in small]
    exact = retry.operand.weight.sum(0).expand(4, 17)
    inside = x.abs() < 1
    assert (grads[0] - exact)[inside].abs().max() <= retry.rounding(x.detach())
    assert (grads[1] - exact)[inside].abs().max() > 0.1
