"""Curves, states, asymmetry and symmetry points derived from devices, and their plot."""

import math

import numpy as np
import pytest

import mho
from mho.cells import (
    ConstantStep,
    LinearStep,
    OneSidedPair,
    PowerResponse,
    SoftBounds,
    UnitCell,
    asymmetry,
    response_curve,
)
from mho.deploy import plot_response
from mho.errors import DataError, RangeError, SpecError
from mho.ops import Stream

ERRORS = 5


def test_the_mean_curve_of_soft_bounds():
    """From w_min up n pulses: w_max - (w_max - w_min)(1 - dw/w_max)^n, and down from there."""
    device = SoftBounds(step=0.01, low=-0.5, high=1.5)
    curve = response_curve(device, [300, -200], cells=3)
    n = np.arange(301)
    rising = 1.5 - 2 * (1 - 0.01 / 1.5) ** n
    np.testing.assert_allclose(curve.mean[:301], rising, rtol=1e-9, atol=1e-12)
    falling = -0.5 + (rising[-1] + 0.5) * (1 - 0.01 / 0.5) ** np.arange(201)
    np.testing.assert_allclose(curve.mean[300:], falling, rtol=1e-9, atol=1e-12)
    assert curve.up.sum() == 300
    assert len(curve.up) == 500
    assert curve.sampled.shape == (501, 3)
    np.testing.assert_allclose(curve.sampled, np.outer(curve.mean, np.ones(3)), atol=1e-6)


def test_a_number_of_pulses_goes_up_and_down_again():
    curve = response_curve(ConstantStep(step=0.25), 4, cells=1)
    np.testing.assert_allclose(curve.mean, [-1, -0.75, -0.5, -0.25, 0, -0.25, -0.5, -0.75, -1])


def test_sampled_cells_have_the_noise_of_their_pulses():
    """n pulses of a constant step far from the bounds: mean n s, variance n (s sigma)^2."""
    device = ConstantStep(step=0.01, cycle_noise=0.5, low=-5, high=5)
    pulses, cells = 50, 20_000
    # Up first, so that the bound at which all start is out of reach of the noise.
    curve = response_curve(device, [100, pulses], cells, Stream(1, "noise"))
    change = curve.sampled[-1] - curve.sampled[100]
    std = 0.01 * 0.5 * math.sqrt(pulses)
    assert abs(change.mean() - pulses * 0.01) < ERRORS * std / math.sqrt(cells)
    assert abs(change.std() - std) < ERRORS * std / math.sqrt(2 * cells)


def test_write_noise_is_in_the_weight_and_not_in_the_state():
    """Its variance does not grow from pulse to pulse."""
    device = ConstantStep(step=0.001, write_noise=30.0)
    curve = response_curve(device, [100], 20_000, Stream(1, "write"))
    for k in (1, 100):
        noise = curve.sampled[k] - curve.mean[k]
        assert abs(noise.mean()) < ERRORS * 0.03 / math.sqrt(noise.size)
        assert abs(noise.std() - 0.03) < ERRORS * 0.03 / math.sqrt(2 * noise.size)


def test_the_same_stream_gives_the_same_curve():
    device = SoftBounds(step_spread=0.3, cycle_noise=0.3)
    one, again, other = (
        response_curve(device, 20, 5, Stream(seed, "curve")).sampled for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_asymmetry_of_soft_bounds():
    """(s+ - s-)/(s+ + s-) at weight 0; its symmetry point for bounds -1 and 1 is the same."""
    device = SoftBounds(step=0.01, asymmetry=0.2, asymmetry_spread=0.03)
    found = asymmetry(device, 20_000, Stream(1, "asymmetry"))
    expected = 0.2 / 1.8
    assert found.at_zero == pytest.approx(expected)
    assert found.symmetry_point == pytest.approx(expected)
    assert found.granularity == pytest.approx(0.009)
    assert found.states == pytest.approx(2 / 0.009)
    np.testing.assert_allclose(found.cells_at_zero, found.cells_symmetry_point, atol=1e-6)
    # s+ - s- = 0.2 + 2 r, s+ + s- = 1.8: the spread of the ratio is 2 * 0.03 / 1.8.
    cells = found.cells_at_zero
    assert abs(cells.mean() - expected) < ERRORS * 0.06 / 1.8 / math.sqrt(cells.size)
    assert abs(cells.std() - 0.06 / 1.8) < ERRORS * 0.06 / 1.8 / math.sqrt(2 * cells.size)


def test_subtracting_the_symmetry_point_puts_it_at_zero():
    device = PowerResponse(
        step=0.01, exponent=0.5, asymmetry=0.2, step_spread=0.2, low_spread=0.2, high_spread=0.2,
        subtract_symmetry_point=True,
    )  # fmt: skip
    found = asymmetry(device, 500)
    assert found.symmetry_point == 0
    np.testing.assert_allclose(found.cells_symmetry_point, 0, atol=1e-6)
    np.testing.assert_allclose(found.cells_at_zero, 0, atol=1e-5)


def test_a_device_without_a_symmetry_point():
    found = asymmetry(LinearStep(asymmetry=0.3, gamma_up=0.05, gamma_down=0.05))
    assert math.isnan(found.symmetry_point)
    assert found.at_zero == pytest.approx(0.3 / 1.7)


def test_stuck_cells_have_no_asymmetry():
    found = asymmetry(ConstantStep(stuck=1.0), 10)
    assert np.isnan(found.cells_at_zero).all()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: response_curve(ConstantStep(), 0), RangeError, "positive number of pulses"),
        (lambda: response_curve(ConstantStep(), -5), RangeError, "positive number of pulses"),
        (lambda: response_curve(ConstantStep(), []), RangeError, "positive number of pulses"),
        (lambda: response_curve(ConstantStep(), 5, cells=0), RangeError, "at least one cell"),
        (lambda: asymmetry(ConstantStep(), 0), RangeError, "at least one cell"),
        (
            lambda: response_curve(UnitCell(devices=("soft_bounds",)), 5),
            SpecError,
            "unit_cell is a unit cell of several devices",
        ),
        (lambda: asymmetry(OneSidedPair(device="soft_bounds")), SpecError, "take one of its"),
        (lambda: plot_response(mho.load("ideal")), DataError, "have no device"),
    ],
)
def test_bad_requests(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_plot_of_a_device():
    figure = plot_response(SoftBounds(step=0.05, asymmetry=0.1, cycle_noise=0.3), pulses=30)
    curve, steps = figure.axes
    *cells, mean, _ = curve.lines
    assert len(cells) == 8
    expected = response_curve(SoftBounds(step=0.05, asymmetry=0.1), 30, 1).mean
    np.testing.assert_allclose(mean.get_ydata(), expected)
    up, down, point = steps.lines
    weight = up.get_xdata()
    np.testing.assert_allclose(up.get_ydata(), 0.05 * (1 - weight), atol=1e-9)
    np.testing.assert_allclose(down.get_ydata(), 0.045 * (1 + weight), atol=1e-9)
    assert point.get_xdata()[0] == pytest.approx(0.1 / 1.9)


def test_plot_of_a_pair_goes_up_only():
    figure = plot_response(mho.load("pcm-nandakumar-2020"))
    curve, steps = figure.axes  # both devices of the pair are of one kind
    assert curve.get_xlabel() == "pulses up"
    assert len(steps.lines) == 1


def test_plot_of_a_unit_cell_has_a_row_for_each_kind_of_device():
    cell = UnitCell(devices=(ConstantStep(step=0.1), SoftBounds(step=0.1), ConstantStep(step=0.1)))
    assert len(plot_response(cell).axes) == 4
