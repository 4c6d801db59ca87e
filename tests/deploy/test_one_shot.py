"""Pulses that set conductances, reads through the columns' converters, and what writing costs."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mho

from .written import NOISY, RANGE, columns, held, layer, written


def test_a_pulse_has_the_error_of_the_programming_law():
    """A tolerance that nothing exceeds: every device got one pulse, as by direct programming."""
    model = layer((100, 100), cell=NOISY)
    matrix = written(model, mho.WriteVerify(pulse={"noise": 2.0}, tolerance=0.9))
    assert matrix.iterations == 0
    error = (held(model) - model.weight).detach()
    w, s = model.weight.detach(), 2 / 25
    far = w.abs() > 4 * s  # where no conductance ends at 0, but for the other device's: half-normal
    shift = s / math.sqrt(2 * math.pi)
    std = math.sqrt(s**2 + s**2 * (0.5 - 1 / (2 * math.pi)))
    values = (error * -w.sign())[far].double()
    n = len(values)
    assert abs(values.mean() - shift) < 5 * std / math.sqrt(n)
    assert abs(values.std() - std) < 5 * std / math.sqrt(2 * n)


def test_devices_keep_their_gain():
    """Exact pulses: g = (1 + spread zeta) a, the same for both signs of the correction."""
    model = layer((80, 80), extent=0.6)
    written(model, mho.WriteVerify(pulse={"spread": 0.1}, tolerance=0.9))
    ratio = (held(model) / model.weight.detach() - 1).double()
    n = ratio.numel()
    assert abs(ratio.mean()) < 5 * 0.1 / math.sqrt(n)
    assert abs(ratio.std() - 0.1) < 5 * 0.1 / math.sqrt(2 * n)
    matrix = written(model, mho.WriteVerify(pulse={"spread": 0.1}, tolerance=0.002, approach=1.0))
    assert matrix.inside[-1] == 1
    # e -> (1 - gain) e: 0.6 x 0.45^(k + 1) after k rounds, for gains within 4.5 deviations.
    assert matrix.iterations <= math.ceil(math.log(0.002 / 0.6) / math.log(0.45))
    assert (held(model) - model.weight).abs().max() <= 0.002 + 1e-6


def test_rewriting_until_accepted_is_rejection():
    """Equal Gaussian errors s, exact reads, no memory (approach -> 0): accepted with p each round.

    p = erf(tolerance / (sqrt(2) s)), so a share (1 - p)^(k + 1) is outside after k rounds.
    """
    s, tolerance = 1 / 25, 0.03
    single = nn.Linear(100, 100, bias=False).eval()
    with torch.no_grad():
        single.weight.copy_(layer((100, 100), extent=0.6).weight)
    # A single device: weight 2 G - 1, so its error is 2 s, and it is far from 0.
    cell = {"kind": "composed", "g_max": 25e-6, **NOISY}
    mapping = {"kind": "single", "scaling": "fixed", "w_max": 1.0}
    mho.convert(single, mho.Hardware(cell=cell, mapping=mapping))
    matrix = written(
        single, mho.WriteVerify(pulse={}, tolerance=tolerance, approach=1e-9, iterations=6)
    )
    p, n = math.erf(tolerance / (math.sqrt(2) * 2 * s)), 10_000
    for k, inside in enumerate(matrix.inside):
        expected = 1 - (1 - p) ** (k + 1)
        assert abs(inside - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


def test_a_cell_that_changes_its_sign_pulses_both_devices():
    """From +0.01 wanted at -0.99 of an offset: G+ is reset, G- is set."""
    model = layer((1, 1), dac=RANGE, adc={"offset_spread": 0.2, "bound": 1.0})
    with torch.no_grad():
        model.weight.fill_(0.01)
    offset = 0.0
    seed = 0
    while offset <= 0.1:  # a chip whose column reads high
        seed += 1
        matrix = written(model, mho.WriteVerify(pulse={}, tolerance=0.001, approach=1.0), seed)
        offset = float(columns(model).offset)
    assert matrix.pulses_up == 2 + 1
    assert matrix.pulses_down == 1
    assert matrix.row_pulses == ((2,), (2,))
    assert float(held(model)) == pytest.approx(0.01 - offset, abs=1e-6)


@pytest.mark.parametrize("auto_zero", [False, True])
@pytest.mark.parametrize("column_errors", [False, True])
def test_reads_through_the_columns_converters(auto_zero, column_errors):
    """Exact pulses end where the read says so: c w + o B = target, without o if zeros are taken."""
    adc = {"gain_spread": 0.1, "offset_spread": 0.02, "bound": 4.0}
    model = layer(dac=RANGE, adc=adc, extent=0.6)
    matrix = written(
        model,
        mho.WriteVerify(
            pulse={}, tolerance=1e-4, approach=1.0, iterations=30,
            auto_zero=auto_zero, column_errors=column_errors,
        ),
    )  # fmt: skip
    assert matrix.inside[-1] == 1
    gain, offset = columns(model).gain[0][:, None], 4 * columns(model).offset[0][:, None]
    expected = model.weight.detach()
    if column_errors:
        expected = (expected - (0 if auto_zero else offset)) / gain
    assert (held(model) - expected).abs().max() < 1.5e-4


def test_a_converter_for_sums_is_coarse_for_a_cell():
    """8 bits over +-10: a level is 10/127, so errors are uniform over a level, for exact pulses."""
    model = layer((80, 80), dac=RANGE, adc={"bits": 8, "bound": 10.0})
    step = 10 / 127
    matrix = written(
        model, mho.WriteVerify(pulse={"spread": 0.3}, tolerance=step / 2, approach=0.3)
    )
    error = (held(model) - model.weight).detach()[torch.from_numpy(~matrix.unreachable)]
    assert error.abs().max() < step + 1e-6
    assert float(error.std()) > 0.3 * step


@pytest.mark.parametrize("bound", ["calibrated", "maximum"])
def test_bounds_of_columns_bound_single_cells_too(bound):
    """Levels are those that products have: a cell that reads as right is within half of one."""
    model = layer((3, 40), dac=RANGE, adc={"bits": 6, "bound": bound})
    x = 2 * torch.rand(50, 40, generator=torch.Generator().manual_seed(1)) - 1
    mho.calibrate(model, [x], method="max")
    w = model.weight.detach()
    largest = w.abs().sum(1) if bound == "maximum" else (x @ w.T).abs().amax(0)
    level = (largest / (2**5 - 1))[:, None]
    matrix = written(model, mho.WriteVerify(pulse={}, tolerance=0.01, approach=0.3, iterations=80))
    right = torch.from_numpy(~matrix.outside)
    assert 0 < right.float().mean() < 1
    assert ((held(model) - w).abs() <= level / 2 + 0.01 + 1e-6)[right].all()
    # The nearest level to a target that is farther than the tolerance from all of them is outside.
    hopeless = ((w / level).round() * level - w).abs() > 0.01 + 1e-6
    assert torch.equal(~right, hopeless)


# ---- cost ----------------------------------------------------------------------------------------

COST = mho.ProgrammingCost(
    pulse_width="1 us", pulse_energy="10 pJ", read_time="100 ns", read_energy="2 nJ", rows_at_once=8
)


def test_the_cost_of_one_pulse_for_each_device():
    """20 x 30 on arrays of 12 rows: 3 x 1 arrays of 10 rows, written at once, 8 rows together."""
    model = layer((20, 30), array={"rows": 12})
    method = mho.WriteVerify(pulse={}, tolerance=0.1, averages=3, cost=COST)
    matrix = written(model, method)
    assert matrix.arrays == 3
    assert matrix.row_pulses == ((2,) * 10,)
    assert matrix.slots == 2 * 2  # rows 0 to 7, then 8 and 9; both devices of a cell
    assert matrix.pulses == 2 * 20 * 30
    assert matrix.reads == 10 * 3
    assert matrix.time == pytest.approx(4 * 1e-6 + 30 * 100e-9)
    assert matrix.energy == pytest.approx(1200 * 10e-12 + 30 * 3 * 2e-9)
    report = mho.programming_report(model)
    assert (report.time, report.energy) == (matrix.time, matrix.energy)
    assert report.reads == 90
    assert "1200 pulses and 90 reads of arrays: 7e-06 s, 192 nJ" in str(report)


def test_the_slots_of_trains_are_those_of_the_longest_on_its_rows():
    """Equal steps of 0.02 from 0: round(w / 0.02) pulses, counted row by row in every round."""
    device = {"kind": "constant_step", "step": 0.01}
    model = layer((6, 10), cell={"device": device})
    with torch.no_grad():
        model.weight.copy_(0.02 * torch.randint(-20, 21, (6, 10)))
    cost = mho.ProgrammingCost(rows_at_once=4)
    matrix = written(model, mho.WriteVerify(tolerance=0.01, approach=1.0, cost=cost))
    steps = (model.weight.detach() / 0.02).round().abs()
    most = steps.amax(0)
    # floor() may leave the last pulse to a second round.
    total = np.array(matrix.row_pulses).sum(0)
    assert (total >= most.numpy() - 1e-3).all()
    assert matrix.pulses == int(steps.sum())
    groups = [max(row[k : k + 4]) for row in matrix.row_pulses for k in (0, 4, 8)]
    assert matrix.slots == sum(groups)
    assert matrix.time is None


def test_what_is_not_given_is_not_known():
    model = layer((4, 5))
    cost = {"pulse_width": 1e-6, "read_time": 1e-7, "rows_at_once": 1}
    mho.program(model, method={"kind": "write_verify", "pulse": {}, "tolerance": 0.1, "cost": cost})
    report = mho.programming_report(model)
    assert report.energy is None
    assert report.time == pytest.approx(5 * 2 * 1e-6 + 5 * 1e-7)
    assert "energy not known (the method's cost says no pulse_energy, read_energy)" in str(report)


def test_reads_of_zeros_are_counted():
    model = layer((4, 5), cell=NOISY, dac=RANGE, noise={"output": 0.01})
    method = {"pulse": {}, "tolerance": 0.9}
    plain = written(model, mho.WriteVerify(**method))
    zeroed = written(model, mho.WriteVerify(**method, auto_zero=True))
    assert (plain.reads, zeroed.reads) == (5, 5 + 16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give `tolerance`"),
        ({"tolerance": 0.1, "fill": 0.5}, "fill=0.5 is for pulses on the cell's device"),
        ({"tolerance": 0.1, "pulse": {"spread": -0.1}}, "greater than or equal to 0"),
        ({"tolerance": 0.1, "cost": {"rows_at_once": 0}}, "greater than or equal to 1"),
        ({"tolerance": 0.1, "cost": {"pulse_width": "3 J"}}, "Write it as '<number> s'"),
        ({"tolerance": 0.1, "cost": {"pulse_energy": -1}}, "greater than or equal to 0"),
        ({"tolerance": 0.1, "cost": {"width": 1}}, "did you mean 'pulse_width'|unknown key|width"),
    ],
)
def test_bad_fields(fields, message):
    model = layer((3, 4))
    with pytest.raises(mho.MhoError, match=message):
        mho.program(model, method={"kind": "write_verify", "pulse": {}, **fields})
    assert not model.analog["weight"].is_programmed
