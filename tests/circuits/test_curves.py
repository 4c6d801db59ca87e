"""Closed forms of the circuits around an array: wires, front end, transfer curve."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.circuits import Compressive, FirstOrder, FrontEnd

unit = st.floats(0, 1)
signal = st.floats(-20, 20)


def f64(value) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(signal, unit, unit, st.floats(0.5, 20))
def test_the_transfer_curve_is_odd_and_monotone(y, nonlinearity, calibration, bound):
    curve = Compressive(nonlinearity=nonlinearity, slope_calibration=calibration)
    a, b = curve.apply(f64(y), bound, 1.0), curve.apply(f64(y + 0.1), bound, 1.0)
    assert curve.apply(f64(-y), bound, 1.0) == -a
    assert b > a


@given(unit, unit, st.floats(0.5, 20))
def test_slope_and_saturation(nonlinearity, calibration, bound):
    """Slope F at 0; at the bound the signal is F bound / (1 + nonlinearity)."""
    curve = Compressive(nonlinearity=nonlinearity, slope_calibration=calibration)
    y = f64(0.0).requires_grad_()
    (slope,) = torch.autograd.grad(curve.apply(y, bound, 1.0), y)
    factor = (1 + calibration * nonlinearity) ** 2
    assert float(slope) == pytest.approx(factor, rel=1e-12)
    at_bound = float(curve.apply(f64(bound), bound, 1.0))
    assert at_bound == pytest.approx(factor * bound / (1 + nonlinearity), rel=1e-12)


@given(unit, unit, st.floats(0.5, 20))
def test_the_slope_is_1_where_it_was_calibrated(nonlinearity, calibration, bound):
    """F undoes the derivative 1 / (1 + |n y|)^2 at y = calibration * bound."""
    curve = Compressive(nonlinearity=nonlinearity, slope_calibration=calibration)
    y = f64(calibration * bound + 1e-300).requires_grad_()
    (slope,) = torch.autograd.grad(curve.apply(y, bound, 1.0), y)
    assert float(slope) == pytest.approx(1, rel=1e-12)


def test_no_nonlinearity_is_the_identity():
    y = torch.linspace(-5, 5, 101)
    assert torch.equal(Compressive(nonlinearity=0.0).apply(y, 3.0, 1.0), y)


def test_each_converter_has_its_own_strength():
    y = Compressive(nonlinearity=0.2).apply(f64([1.0, 1.0]), 2.0, f64([0.5, 2.0]))
    torch.testing.assert_close(y, f64([1 / 1.05, 1 / 1.2]))


@given(signal, signal, unit)
def test_front_end_without_resistance(y, drives, offset):
    """y (1 - V) - 2 V R, to the rounding of numbers of the size of y and R."""
    got = FrontEnd(reference_weight=0.7).apply(f64(y), f64(drives), f64(offset))
    expected = y * (1 - offset) - 2 * offset * 0.7 * drives
    assert abs(float(got) - expected) <= 1e-14 * (abs(y) + abs(drives) + 1)


@given(signal, unit, unit)
def test_front_end_without_reference(y, offset, resistance):
    """y (1 - V) / (1 + r |y|)."""
    front = FrontEnd(reference_weight=0.0, series_resistance=resistance)
    got = float(front.apply(f64(y), f64(3.0), f64(offset)))
    assert got == pytest.approx(y * (1 - offset) / (1 + resistance * abs(y)), rel=1e-13, abs=0)


@given(signal, signal)
def test_an_ideal_front_end_changes_nothing(y, drives):
    got = float(FrontEnd().apply(f64(y), f64(drives), 0.0))
    assert abs(got - y) <= 4e-16 * (abs(y) + abs(drives))


@given(signal, unit)
def test_series_resistance_only_takes_away(y, resistance):
    front = FrontEnd(reference_weight=0.0, series_resistance=resistance)
    got = float(front.apply(f64(y), f64(0.0), 0.0))
    assert abs(got) <= abs(y)
    assert got * y >= 0


def test_the_wire_profile_is_largest_far_from_the_adc():
    """1 - (1 - j/n)^2 of rows 0 (the farthest) to n - 1; row 0 drives the whole column."""
    profile = FirstOrder().profile(torch.arange(4), f64(4.0))
    torch.testing.assert_close(profile.double(), f64([0, 7 / 16, 12 / 16, 15 / 16]))


def test_the_wire_ratio_is_that_of_035_ohm_and_5_us():
    assert FirstOrder().conductance_ratio == pytest.approx(571428.571, rel=1e-6)
    assert 1 / FirstOrder().conductance_ratio == pytest.approx(0.35 * 5e-6, rel=1e-12)


@given(st.floats(0, 1), st.floats(0.1, 3))
def test_the_cubic_of_the_load(a, scale):
    """c = a (a (0.05 a - 0.2) + 0.5); with n / ratio = 1 the load is a itself."""
    wires = FirstOrder(scale=scale, conductance_ratio=128.0)
    got = float(wires.drop(f64([a]), f64([2.0]), f64(128.0)))
    expected = 2 * scale * (0.05 * a**3 - 0.2 * a**2 + 0.5 * a)
    assert got == pytest.approx(expected, rel=1e-13, abs=1e-300)


def test_a_standard_array_drops_little():
    """512 rows half driven at half weight: a = 0.115, and a few percent of the signal."""
    wires = FirstOrder()
    load = 512 * 0.25
    a = load * 512 / wires.conductance_ratio
    assert a == pytest.approx(0.1147, abs=1e-4)
    weighted = f64([load * 2 / 3])  # the mean of the profile is 2/3
    assert 0.02 < float(wires.drop(f64([load]), weighted, f64(512.0))) / load < 0.04
