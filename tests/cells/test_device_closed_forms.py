"""Devices whose curves have a closed form, and descriptions that cannot be meant."""

import math

import numpy as np
import pytest

from mho.cells import (
    ConstantStep,
    ExponentialResponse,
    LinearStep,
    PiecewiseStep,
    PowerResponse,
    PowerStep,
    PulsedDevice,
    SoftBounds,
    SoftBoundsPmax,
)
from mho.errors import SpecError
from mho.ops import Stream


def mean_curve(device: PulsedDevice, start: float, up: bool, pulses: int) -> np.ndarray:
    """States of the mean cell from `start` on, pulse by pulse, without noise."""
    cell = device.mean_cell()
    low, high = cell.low.numpy(), cell.high.numpy()
    states = [np.full((1, 1), start)]
    for _ in range(pulses):
        step, _ = device.respond(cell, states[-1], up)
        states.append(np.clip(states[-1] + (step if up else -step), low, high))
    return np.array(states).ravel()


@pytest.mark.parametrize(("low", "high", "step"), [(-1.0, 1.0, 0.001), (-0.75, 1.25, 0.002)])
def test_soft_bounds_follow_their_geometric_series(low, high, step):
    """w(n) = w_max (1 - (1 - dw/w_max)^n), and the same downwards."""
    device, n = SoftBounds(low=low, high=high, step=step), np.arange(1001)
    up = mean_curve(device, 0.0, True, 1000)
    np.testing.assert_allclose(up, high * (1 - (1 - step / high) ** n), rtol=1e-10)
    down = mean_curve(device, 0.0, False, 1000)
    np.testing.assert_allclose(down, low * (1 - (1 + step / low) ** n), rtol=1e-10)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.3, 1.7)])
@pytest.mark.parametrize(("pulses", "rate"), [(1000, 0.0005), (50, 0.1)])
def test_p_max_pulses_cross_the_range(low, high, pulses, rate):
    """B (1 - e^(-rate p)) + low upwards, -B (1 - e^(-rate p)) + high downwards."""
    device = SoftBoundsPmax(pulses=pulses, rate=rate, low=low, high=high)
    p = np.arange(pulses + 1)
    span = (high - low) / (1 - math.exp(-rate * pulses))
    up = mean_curve(device, low, True, pulses)
    np.testing.assert_allclose(up, low + span * (1 - np.exp(-rate * p)), rtol=1e-9, atol=1e-12)
    assert up[-1] == pytest.approx(high, rel=1e-9)
    down = mean_curve(device, high, False, pulses)
    np.testing.assert_allclose(down, high - span * (1 - np.exp(-rate * p)), rtol=1e-9, atol=1e-12)
    assert down[-1] == pytest.approx(low, rel=1e-9)


def test_linear_steps_have_slope_gamma():
    """w(n) = (R/gamma) (1 - (1 - gamma s/R)^n)."""
    device, n = LinearStep(step=0.002, gamma_up=0.4, high=1.25), np.arange(301)
    rate = 0.4 * 0.002 / 1.25
    up = mean_curve(device, 0.0, True, 300)
    np.testing.assert_allclose(up, 0.002 / rate * (1 - (1 - rate) ** n), rtol=1e-10)


def test_a_power_of_one_is_soft_bounds_and_of_zero_a_constant_step():
    soft, constant = SoftBounds(step=0.01, low=-0.7), ConstantStep(step=0.01, low=-0.7)
    fields = {"step": 0.01, "low": -0.7}
    for up in (True, False):
        for device, like in (
            (PowerResponse(exponent=1.0, **fields), soft),
            (PowerResponse(exponent=0.0, **fields), constant),
            (PowerStep(exponent=0.0, **fields), constant),
            (PiecewiseStep(**fields), constant),
            (LinearStep(gamma_up=1.0, gamma_down=1.0, **fields), soft),
        ):
            curves = (mean_curve(each, 0.1, up, 200) for each in (device, like))
            np.testing.assert_allclose(*curves, rtol=1e-6, atol=1e-9)


def test_a_small_exponent_tends_to_soft_bounds():
    """(e^(g x) - 1)/(e^g - 1) = x + g x (x - 1)/2 + O(g^2), at most g/8 off between 0 and 1."""
    device, soft = ExponentialResponse(exponent=0.01), SoftBounds()
    state = np.linspace(0, 1, 101).reshape(1, -1)
    steps = (each.respond(each.mean_cell(), state, True)[0] for each in (device, soft))
    one, other = steps
    assert np.abs(one - other).max() <= 1.01 * 0.01 / 8 * 0.001


def test_the_power_and_exponential_responses_of_the_theory():
    """q+-(w) of Z. Wu et al. at tau = 0.6: F and G at w = 0 are 1 and 0, and both vanish at tau."""
    tau = 0.6
    for device, q in (
        (PowerResponse(exponent=0.5, low=-tau, high=tau), lambda x: x**0.5),
        (
            ExponentialResponse(exponent=3.0, low=-tau, high=tau),
            lambda x: (math.exp(3 * x) - 1) / (math.exp(3) - 1),
        ),
    ):
        cell = device.mean_cell()
        for w in (-tau, -0.2, 0.0, 0.45, tau):
            at = np.full((1, 1), w)
            up, down = (device.respond(cell, at, u)[0].item() for u in (True, False))
            assert up == pytest.approx(0.001 * q(1 - w / tau), abs=1e-15)
            assert down == pytest.approx(0.001 * q(1 + w / tau), abs=1e-15)


def test_the_biased_linear_response_has_its_symmetry_point_at_c_tau():
    """q+ = (1+c)(1 - w/tau), q- = (1-c)(1 + w/tau): a choice of step and asymmetry."""
    c, tau = 0.3, 3.5
    device = SoftBounds(step=0.001 * (1 + c), asymmetry=1 - (1 - c) / (1 + c), low=-tau, high=tau)
    cell = device.mean_cell()
    assert cell.size_down.item() == pytest.approx(0.001 * (1 - c))
    assert device.symmetry_point(cell).item() == pytest.approx(c * tau)
    zeroed = device.with_fields(subtract_symmetry_point=True)
    assert zeroed.mean_cell().reference.item() == pytest.approx(c * tau)
    assert zeroed.granularity == pytest.approx(0.001 * (1 + c) * (1 - c))


def test_the_symmetry_point_where_both_steps_are_the_same_everywhere_is_zero():
    device = ConstantStep(subtract_symmetry_point=True)
    assert device.mean_cell().reference.item() == 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SoftBounds(low=0.1), "low=0.1 to high=1 must contain 0"),
        (lambda: ConstantStep(high=-0.1), "low=-1 to high=-0.1 must contain 0"),
        (lambda: ConstantStep(low=0.0, high=0.0), "must contain 0"),
        (lambda: SoftBounds(low=0.0), "a bound at which steps vanish must not be"),
        (lambda: PowerResponse(high=0.0), "a bound at which steps vanish must not be"),
        (lambda: ExponentialResponse(low=0.0), "a bound at which steps vanish must not be"),
        (lambda: ExponentialResponse(exponent=0), "greater than or equal to 0.01"),
        (lambda: SoftBoundsPmax(step=0.1), "step: Input should be None"),
        (lambda: SoftBoundsPmax(pulses=0), "pulses: Input should be greater than 0"),
        (lambda: LinearStep(gamma_up=-0.1), "set increasing to allow it"),
        (lambda: LinearStep(low=0.0, gamma_down=0.1), "relative to a bound of 0"),
        (lambda: PiecewiseStep(up=(1, 1, 1)), "one value per node"),
        (lambda: PiecewiseStep(up=(1, -1)), "up must not be negative"),
        (lambda: PiecewiseStep(noise_up=(1, 1)), "noise_up and noise_down go together"),
        (
            lambda: PiecewiseStep(noise_up=(1, 1), noise_down=(1, 1), cycle_noise=0.1),
            "replace cycle_noise",
        ),
        (lambda: ConstantStep(step=0), "step: Input should be greater than 0"),
        (lambda: ConstantStep(asymmetry=1.0), "asymmetry: Input should be less than 1"),
        (lambda: ConstantStep(lifetime=0.5), "lifetime: Input should be greater than or equal"),
        (lambda: ConstantStep(dw_min=0.1), "dw_min: unknown field"),
    ],
)
def test_bad_devices(make, match):
    with pytest.raises(SpecError, match=match):
        make()


@pytest.mark.parametrize(
    ("device", "missing"),
    [
        (ConstantStep(asymmetry=0.1), "6 of 6 cells of this constant_step device"),
        (LinearStep(asymmetry=0.5, gamma_up=0.1, gamma_down=0.1), "6 of 6"),
        (LinearStep(increasing=True, gamma_up=-0.1, gamma_down=-0.1), "6 of 6"),
    ],
)
def test_a_symmetry_point_where_there_is_none(device, missing):
    with pytest.raises(SpecError, match=missing):
        device.with_fields(subtract_symmetry_point=True).draw((2, 3), Stream(1, "none"))
