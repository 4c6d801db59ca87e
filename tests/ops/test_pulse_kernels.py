"""The drivers of pulsed cells: every response, compiled and on tensors, against literal loops."""

import numpy as np
import pytest
import torch

from mho.cells import ConstantStep, SoftBounds
from mho.ops import PulsedCells, Trains, integrate, pulse, twin
from mho.ops._pulse_lanes import AHEAD, LANES
from mho.ops._pulsed import SHARE, _integrate_tensors
from oracles import pulses as oracle

from .responses import KEY, NAMES, STEP, SUITES, Case, case, rounding

every_response = pytest.mark.parametrize("suite", SUITES, ids=NAMES)
NOISE = (STEP, KEY)


def pulsed(given: Case):
    cells, (up, down) = given.fresh(), given.counters()
    formula = type(given.device).formula
    landing = type(given.device).landing
    pulse(formula, cells, given.device.constants, given.trains, NOISE, up, down, landing)
    return cells.state, up, down


def literal(given: Case, suite):
    """Counts (n, out, rows) and states by loops, with the same random numbers."""
    trains = given.trains
    bits = [(t.numpy()[:, :, None] >> np.arange(31)) & 1 for t in (trains.x, trains.d)]
    sign_x, sign_d = (np.where(f.numpy(), 1, -1) for f in (trains.x_up, ~trains.d_up))
    up, down = oracle.coincidences(bits[0], sign_x, bits[1], sign_d)
    state = given.cells.state.double().numpy()
    return oracle.drive(suite.oracle, state, given.numbers, up, down, STEP, KEY), up, down


@every_response
def test_pulse_by_pulse_is_the_literal_loop(suite):
    given = case(suite)
    state, up, down = pulsed(given)
    expected, ups, downs = literal(given, suite)
    assert np.array_equal(up.numpy(), ups.sum(0))
    assert np.array_equal(down.numpy(), downs.sum(0))
    pulses = (ups + downs).sum(0)
    assert pulses.sum() > 100
    assert (np.abs(state.double().numpy() - expected) <= rounding(given, pulses)).all()


def test_more_pulses_than_are_queued():
    """Hundreds of pulses on each cell, of which a part is queued at a time."""
    suite = SUITES[0]
    given = case(suite, shape=(2, 3), n=12)
    full = torch.full_like(given.trains.d, 2**31 - 1)
    trains = given.trains._replace(d=full, x=torch.full_like(given.trains.x, 2**31 - 1))
    given = given._replace(trains=trains)
    state, up, down = pulsed(given)
    expected, _, _ = literal(given, suite)
    pulses = (up + down).numpy()
    assert (pulses == 12 * 31).all()
    assert (np.abs(state.double().numpy() - expected) <= rounding(given, pulses)).all()


def test_more_cells_than_stand_side_by_side():
    """Rows of two parts; in each, some cells have many pulses, others few or none."""
    suite = SUITES[0]
    given = case(suite, shape=(1, LANES + 9), n=10)
    x, full = given.trains.x, 2**31 - 1
    x[:, 3], x[:, -2], x[:, ::5] = full, full, 0
    given = given._replace(trains=given.trains._replace(d=torch.full_like(given.trains.d, full)))
    state, up, down = pulsed(given)
    expected, ups, downs = literal(given, suite)
    assert np.array_equal(up.numpy(), ups.sum(0))
    assert np.array_equal(down.numpy(), downs.sum(0))
    pulses = (up + down).numpy()
    assert pulses.max() == 10 * 31 > AHEAD
    assert (np.abs(state.double().numpy() - expected) <= rounding(given, pulses)).all()


@every_response
def test_cells_beside_a_cell_do_not_matter(suite):
    """Part of the lines, with their own number of pulses: the very same states."""
    given = case(suite, shape=(4, 53), n=9)
    state, up, _ = pulsed(given)
    own = PulsedCells(*(t[:, :19].contiguous() for t in given.cells))
    trains = given.trains._replace(x=given.trains.x[:, :19], x_up=given.trains.x_up[:, :19])
    part, part_up, _ = pulsed(given._replace(cells=own, trains=trains))
    assert torch.equal(part_up, up[:, :19])
    assert torch.equal(part, state[:, :19])


@every_response
def test_tensors_integrate_as_kernels_do(suite):
    """Whole numbers, and means whose noise makes some of them negative."""
    given = case(suite, shape=(9, 21), seed=1)
    rng = np.random.default_rng(0)
    whole = torch.from_numpy(rng.integers(0, 60, (2, 9, 21)).astype(np.int32))
    whole[:, :, ::5] = 0
    for up, down in (
        whole,
        whole.float() + torch.from_numpy(rng.normal(0, 2, whole.shape)).float(),
    ):
        one, other = given.fresh(), given.fresh()
        formula, constants = type(given.device).formula, given.device.constants
        integrate(formula, one, constants, up, down, NOISE)
        whole_numbers = float(not up.is_floating_point())
        response = twin(formula, "torch")
        _integrate_tensors(response, other, constants, up, down, whole_numbers, NOISE)
        pulses = (up.abs() + down.abs()).double().numpy()
        error = (one.state - other.state).abs().double().numpy()
        assert (error <= rounding(given, pulses)).all()
        none = (up == 0) & (down == 0)
        assert torch.equal(one.state[none], given.cells.state[none])


@every_response
def test_bounds_hold_and_zero_pulses_do_nothing(suite):
    given = case(suite, n=20, sparse=1)
    state, up, down = pulsed(given)
    assert int((up + down).max()) > 100
    assert bool(((given.cells.low <= state) & (state <= given.cells.high)).all())
    stuck = given.cells.low == given.cells.high
    assert torch.equal(state[stuck], given.cells.state[stuck])
    idle = given._replace(trains=given.trains._replace(x=torch.zeros_like(given.trains.x)))
    state, up, down = pulsed(idle)
    assert torch.equal(state, given.cells.state)
    assert int((up + down).sum()) == 0


def test_threads_do_not_matter():
    given = case(SUITES[0], shape=(23, 17), n=10)
    up, down = torch.arange(2 * 23 * 17).view(2, 23, 17).int() % 37

    def both():
        cells = given.fresh()
        integrate(type(given.device).formula, cells, given.device.constants, up, down, NOISE)
        return *pulsed(given), cells.state

    one = both()
    torch.set_num_threads(3)
    try:
        three = both()
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def cells(n, size, slope, high=1.0, start=0.0):
    full = torch.full((1, n), 1.0)
    return PulsedCells(start * full, -high * full, high * full, size * full, size * full,
                       slope * full, -slope * full)  # fmt: skip


def test_constant_steps_are_counted_exactly():
    """Steps of a power of two: w = (up - down) step, however they are split and interleaved."""
    rng = np.random.default_rng(3)
    up, down = (torch.from_numpy(rng.integers(0, 300, (1, 500)).astype(np.int32)) for _ in "ud")
    moved = cells(500, 2.0**-12, 0.0)
    integrate(ConstantStep.formula, moved, (0.0,), up, down, NOISE)
    assert torch.equal(moved.state, (up - down) * 2.0**-12)


@pytest.mark.parametrize("step", [0.0005, 0.005, 0.03, 0.3])
def test_raising_pulses_on_soft_bounds(step):
    """One direction, w(n) = 1 - (1 - step)^n, within the error that `integrate` states."""
    n = torch.arange(0, 2001, 8, dtype=torch.int32)[None]
    moved = cells(n.shape[1], step, -step)
    integrate(SoftBounds.formula, moved, (0.0, 0.0), n, torch.zeros_like(n), NOISE)
    exact = 1 - (1 - step) ** n.double()
    error = (moved.state - exact).abs()
    assert float(error.max()) <= 0.01 * 2
    # Over one sub-step, m step <= 2 SHARE = 0.1: what is left of (1 - step)^m is of third order.
    once = n * step <= 2 * SHARE
    assert float(error[once].max()) <= (2 * SHARE) ** 3 / 6 + 1e-6


def test_opposite_pulses_settle_between_their_fixed_points():
    """Alternating pulses on soft bounds: as many up as down lead to the symmetry point, 0."""
    up = torch.full((1, 1), 5000, dtype=torch.int32)
    moved = cells(1, 0.01, -0.01, start=0.8)
    integrate(SoftBounds.formula, moved, (0.0, 0.0), up, up.clone(), NOISE)
    assert abs(float(moved.state)) <= 0.01


def test_pulses_that_lower_mirror_those_that_raise():
    up = torch.arange(40, dtype=torch.int32)[None]
    one, other = cells(40, 0.02, -0.02), cells(40, 0.02, -0.02)
    integrate(SoftBounds.formula, one, (0.0, 0.0), up, torch.zeros_like(up), NOISE)
    integrate(SoftBounds.formula, other, (0.0, 0.0), torch.zeros_like(up), up, NOISE)
    assert torch.equal(one.state, -other.state)


def test_trains_of_no_samples_change_nothing():
    given = case(SUITES[0], n=6)
    none = Trains(*(t[:0] for t in given.trains))
    state, up, down = pulsed(given._replace(trains=none))
    assert torch.equal(state, given.cells.state)
    assert int((up + down).sum()) == 0
