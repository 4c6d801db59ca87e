"""Gradients: straight through levels, none through limits, that of the smooth curves, no noise."""

from dataclasses import replace

import pytest
import torch
from torch.autograd import grad, gradcheck

from mho.tiles import Operand, mvm, nominal

from .bench import Bench, dense, hardware, inputs
from .test_combined import EVERYTHING as NOISY
from .test_convolution import PLAIN, convolution, image
from .test_effects import ARRAYS, EFFECTS, LEVELS, RANGES, SCHEMES, merged

# 127 / r, rounded, times r is above 127 in float32: such an input must not count as clipped.
AWKWARD = 2.32
SMOOTH = {
    name: EFFECTS[name]
    for name in ("transfer", "transfer_calibrated", "wires", "front_end", "voltage_offset")
} | {
    name: EFFECTS[name]
    for name in ("input_asymmetry", "output_asymmetry", "adc_gain", "adc_offset", "bit_slices")
}


def leaf(x: torch.Tensor) -> torch.Tensor:
    return x.clone().requires_grad_()


def test_the_awkward_range_is_awkward():
    r = torch.tensor(AWKWARD)
    assert 127 / r * r > 127


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("rule", RANGES)
def test_input_gradient_is_straight_through(rule, scheme):
    """W^T g where |x| <= r, and zero outside. The ADC is wide enough."""
    value = {"kind": "fixed", "value": AWKWARD} if rule == "fixed" else rule
    parts = {"dac": {"bits": 8}, "adc": {"bits": 8, "bound": 100.0}}
    hw = hardware(**merged(parts, ARRAYS["ragged"], range=value, **scheme))
    bench = Bench.of(hw, dense(11, 17, hw))
    operand = bench.operand
    stored = operand.input_range
    if stored is not None:
        operand = replace(
            operand, input_range=torch.full_like(stored, AWKWARD, dtype=torch.float32)
        )
    x = inputs(6, 17, size=2.0).float()
    x[0, :3] = torch.tensor([AWKWARD, -AWKWARD, 0.0])
    x, g = leaf(x), torch.randn(6, 11, generator=torch.Generator().manual_seed(1))
    (got,) = grad(mvm(x, operand, hw, bench.geometry), x, g)
    inside = torch.ones_like(x) if rule == "per_token" else x.abs() <= torch.tensor(AWKWARD)
    exact = (g @ (operand.weight * operand.gain[:, None]).float()) * inside
    assert (got - exact).abs().max() <= bench.rounding(g)
    assert (got[inside == 0] == 0).all()


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_codes_at_the_limit_keep_their_gradient(rounding):
    """Whatever stochastic rounding adds, an input inside the range stays inside."""
    hw = hardware(dac={"bits": 3, "rounding": rounding})
    bench = Bench.of(hw, dense(1, 4, hw))
    x = leaf(torch.tensor([[1.0, -1.0, 0.9, -0.95]]).repeat(50, 1).double())
    (got,) = grad(bench.product(x).sum(), x)
    exact = (bench.operand.weight * bench.operand.gain).expand(50, 4)
    assert (got - exact).abs().max() <= bench.rounding(x.detach())


def test_weight_gradient_sees_the_driven_input():
    """dL/dW = g^T v r with the levels and limits of v."""
    hw = hardware(dac={"bits": 4, "range": {"kind": "fixed", "value": 0.8}}, array={"rows": 7})
    bench = Bench.of(hw, dense(3, 17, hw))
    x, g = inputs(6, 17), torch.randn(6, 3, dtype=torch.float64)
    weight = leaf(bench.operand.weight)
    y = mvm(x, replace(bench.operand, weight=weight, gain=None), hw, bench.geometry)
    (got,) = grad(y, weight, g)
    driven = ((x / 0.8).clamp(-1, 1) * 7).round() / 7 * 0.8
    assert (got - g.T @ driven).abs().max() <= bench.rounding(x)


def test_adc_limits_cut_the_gradient():
    """Outputs beyond the bound pass nothing back; those inside pass everything."""
    hw = hardware(adc={"bits": 8, "bound": 0.5})
    bench = Bench.of(hw, dense(40, 17, hw))
    x = leaf(inputs(6, 17).clamp(-1, 1))
    scale = bench.operand.scale[0]
    inside = ((x @ bench.operand.weight.T) / scale).abs() <= 0.5
    assert inside.any()
    assert not inside.all()
    g = torch.randn(6, 40, dtype=torch.float64)
    (got,) = grad(bench.product(x), x, g)
    exact = (g * inside * bench.operand.gain) @ bench.operand.weight
    assert (got - exact).abs().max() <= bench.rounding(x.detach()) * g.abs().max()


@pytest.mark.parametrize("array", ["one", "ragged"])
@pytest.mark.parametrize("effect", SMOOTH.values(), ids=SMOOTH)
def test_smooth_curves(effect, array):
    """Finite differences of inputs and weights, away from the kinks at 0 and at the limits."""
    hw = hardware(**merged(effect, ARRAYS[array]))
    bench = Bench.of(hw, dense(6, 9, hw))
    x = leaf(inputs(2, 9).clamp(-0.9, 0.9))
    assert gradcheck(lambda x: bench.product(x), (x,))
    if len(hw.mapping.significance) == 1:
        weight = leaf(bench.operand.weight)

        def with_weight(w):
            return mvm(x.detach(), replace(bench.operand, weight=w), hw, bench.geometry)

        assert gradcheck(with_weight, (weight,))


@pytest.mark.parametrize("scheme", ["analog", "digital"])
def test_smooth_curves_of_two_reads(scheme):
    parts = merged(EFFECTS["front_end"], ARRAYS["ragged"], **SCHEMES[scheme])
    hw = hardware(**parts)
    bench = Bench.of(hw, dense(6, 9, hw))
    assert gradcheck(bench.product, (leaf(inputs(2, 9).clamp(-0.9, 0.9)),))


def test_convolution_gradients():
    hw = hardware(**merged(EFFECTS["transfer"], {"rows": 7}))
    pixels = Bench.of(hw, convolution(hw, {**PLAIN, "groups": 2}))
    x = leaf(image(PLAIN, 1).clamp(-0.9, 0.9))
    assert gradcheck(pixels.product, (x,))
    patches = replace(pixels, geometry=pixels.geometry.vectors)
    a, b = (grad(bench.product(x).square().sum(), x)[0] for bench in (pixels, patches))
    assert (a - b).abs().max() <= 10 * pixels.rounding(x.detach())


def test_bit_slices_pass_the_gradient_to_the_weight():
    """Rounding the weight to levels is straight through, once, whatever the number of slices."""
    hw = hardware(mapping={"kind": "bit_sliced", "bits": 4, "slice_bits": 1})
    geometry = dense(5, 7, hw)
    weight, x = leaf(inputs(5, 7)), inputs(4, 7).clamp(-1, 1)
    g = torch.randn(4, 5, dtype=torch.float64)
    (got,) = grad(mvm(x, nominal(weight, hw, geometry), hw, geometry), weight, g)
    assert (got - g.T @ x).abs().max() <= 1e-14 * 64


@pytest.mark.parametrize("noise", ["input", "output", "read"])
def test_noise_has_no_gradient(noise):
    """The gradient of a noisy linear product is that of the product without noise."""
    value = {"kind": "pcm_read", "sigma": 0.3} if noise == "read" else 0.3
    hw = hardware(noise={noise: value})
    bench = Bench.of(hw, dense(5, 7, hw))
    x, weight = leaf(inputs(6, 7).clamp(-1, 1)), leaf(bench.operand.weight)
    y = mvm(x, replace(bench.operand, weight=weight, gain=None), hw, bench.geometry)
    g = torch.randn(6, 5, dtype=torch.float64)
    of_x, of_weight = grad(y, (x, weight), g)
    allowed = bench.rounding(x.detach()) * g.abs().max()
    assert (of_x - g @ weight).abs().max() <= allowed
    if noise != "input":  # the weight's gradient is the product with what was really driven
        assert (of_weight - g.T @ x).abs().max() <= allowed


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_neither_weights_nor_inputs_change(scheme, tracked):
    """In place work is done on intermediate values only."""
    levels = {**NOISY, "dac": {**NOISY["dac"], "range": {"kind": "fixed", "value": 1.0}}}
    for parts in ({"dac": {"range": None}}, LEVELS, levels, {"noise": {"output": 0.1}}):
        hw = hardware(**merged(parts, {}, **(scheme if "bits" in parts.get("dac", {}) else {})))
        bench = Bench.of(hw, dense(5, 7, hw))
        x, weight = leaf(inputs(6, 7)), leaf(bench.operand.weight)
        before = [x._version, weight._version]
        operand: Operand = replace(bench.operand, weight=weight)
        scale = operand.scale.clone()
        with torch.set_grad_enabled(tracked):
            y = mvm(x, operand, hw, bench.geometry)
        if tracked:
            y.sum().backward()
        assert [x._version, weight._version] == before
        assert torch.equal(operand.scale, scale)
