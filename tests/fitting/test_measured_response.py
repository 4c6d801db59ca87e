"""Measured tables: gathered from trains, read from files, and used as devices."""

import numpy as np
import pytest

import mho
from mho.errors import DataError, RangeError
from oracles import devices as oracles

from .trains import pulses, train

UP, DOWN = (1.5, 1.2, 1.0, 0.8, 0.5), (0.3, 0.6, 1.0, 1.1, 1.2)
NOISE = (0.5, 0.4, 0.3, 0.4, 0.5), (0.2, 0.3, 0.4, 0.3, 0.2)
SAME = np.ones(20)
CELL = oracles.Cell(-SAME, SAME, 0.03 * SAME, 0.03 * SAME, 0, 0)
TABLE = (
    "conductance [uS],step_up,step_down,noise_up,noise_down\n"
    "10,2,0.5,1,0.2\n"
    "20,1.5,1,0.8,0.4\n"
    "30,1,1.5,0.5,0.5\n"
)


def test_steps_and_noise_of_a_table_are_found(rng):
    """16 000 pulses of 20 cells: a node has about 1600 in each direction."""
    sent = pulses(100, 4)
    pulse = oracles.piecewise_step(NOISE, UP, DOWN)
    found = mho.measured_response((sent, train(pulse, CELL, sent, rng)), nodes=5)
    device = found.device
    assert (device.low, device.high) == (-1.0, 1.0)
    n = 20 * 400 / 5
    for name, true, noise in (("up", UP, NOISE[0]), ("down", DOWN, NOISE[1])):
        steps = np.array(getattr(device, name)) * device.step / 0.03
        spread = np.array(getattr(device, f"noise_{name}")) * device.step / 0.03
        inner = slice(1, -1)  # at the ends, the bound cuts steps short
        error = 5 * max(noise) * 2 / np.sqrt(n)  # straight lines between nodes: twice the error
        np.testing.assert_allclose(steps[inner], true[inner], atol=error)
        np.testing.assert_allclose(spread[inner], noise[inner], atol=error)
    assert device.write_noise * device.step < 0.1 * 0.03
    assert "noise_down" in str(found)


def test_noise_of_readings_is_not_noise_of_pulses(rng):
    """Trains that stay between the bounds: 18 560 pairs of neighbors, each with variance 5 r^4."""
    sent = pulses(30, 16)
    pulse = oracles.piecewise_step(0.0, UP, DOWN)
    values = train(pulse, CELL, sent, rng, reading=0.005, start=-0.5)
    device = mho.measured_response((sent, values), nodes=5).device
    assert abs(device.write_noise * device.step / 0.005 - 1) < 5 * np.sqrt(5 / 18_560)
    assert max(device.noise_up[1:-1]) * device.step < 0.005 / 2


def test_a_table_file_is_the_device_as_it_stands(tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text(TABLE)
    found = mho.measured_response(file)
    device = found.device
    assert (found.zero, found.scale) == pytest.approx((20e-6, 10e-6))
    assert (device.low, device.high) == pytest.approx((-1.0, 1.0))
    # 2.0 uS of a step up at 10 uS: 0.2 of the scale.
    np.testing.assert_allclose(np.array(device.up) * device.step, [0.2, 0.15, 0.1])
    np.testing.assert_allclose(np.array(device.noise_down) * device.step, [0.02, 0.04, 0.05])
    assert mho.load(_written(found, tmp_path)).cell.device == device
    assert found.plot(tmp_path / "steps.png").stat().st_size > 10_000


def _written(found, folder):
    found.to_yaml(folder / "my.yaml")
    return folder / "my.yaml"


def test_nodes_that_are_not_equally_spaced_are_interpolated(tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text("weight,step_up,step_down\n-1,0.4,0.1\n0,0.2,0.2\n0.5,0.1,0.3\n")
    device = mho.measured_response(file).device
    np.testing.assert_allclose(np.array(device.up) * device.step, [0.4, 0.3, 0.2, 0.1])
    assert device.noise_up is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("step_down,", "", "lacks step_down"),
        (",noise_down", "", "cells under"),
        ("20,1.5", "5,1.5", "rising order"),
        ("1.5,1,0.8", "-1.5,1,0.8", "must not be negative"),
        ("conductance [uS]", "step", "unknown column"),
    ],
)
def test_bad_tables(tmp_path, old, new, words):
    file = tmp_path / "steps.csv"
    text = TABLE.replace(old, new)
    if new == "" and old.startswith("step_down"):
        text = "weight,step_up\n-1,1\n1,1\n"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        mho.measured_response(file)
    assert words in str(caught.value)


def test_states_without_pulses_are_refused():
    sent = np.concatenate([[0], np.ones(30), -np.ones(30)])
    values = np.concatenate([np.linspace(-1, 1, 31), np.full(30, 1.0)])
    with pytest.raises(DataError, match="hardly any pulses down near -1"):
        mho.measured_response((sent, values), nodes=5)


def test_weights_on_one_side_are_refused(tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text("weight,step_up,step_down\n1,0.4,0.1\n2,0.2,0.2\n")
    with pytest.raises(RangeError, match="give `zero`"):
        mho.measured_response(file)
    assert mho.measured_response(file, zero=1.5).device.low == -0.5
