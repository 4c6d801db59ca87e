"""Gradient-descent programming: estimates, column errors, the literal loop, and the comparison."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import chips
import mho
from mho.deploy._gradient_descent import _Products
from mho.deploy._writing import Writing
from mho.nn import sites
from mho.ops import Stream
from oracles.gradient_descent import gradient_descent

from .written import (
    COLUMN_ERRORS,
    NOISY,
    PCM_NOISE,
    RANGE,
    columns,
    held,
    layer,
    product_error,
    written,
)

CONVERTERS = {"dac": {"bits": 8, **RANGE}, "adc": COLUMN_ERRORS, "noise": {"output": 0.02}}


def measured(model, method, seed=1):
    """The first estimate of a chip's cells, and their errors."""
    (site,) = sites(model)
    stream = Stream(seed, site.crossbar.name)
    weight = site.matrix.detach()
    writing = Writing(method, weight, site.crossbar, stream, method.threshold)
    found = _Products(method, weight, writing).measure(0)
    return found, writing.shown(writing.cells.conductance) - writing.target


@pytest.mark.parametrize("inputs", ["uniform", "gaussian"])
def test_the_gradient_estimates_the_cells_errors_with_the_variance_that_it_states(inputs):
    """(G - error) / sqrt(q) has mean 0 and variance 1 - 1/rows: a cell's own error is no noise."""
    model = layer((64, 64), cell=NOISY, dac=RANGE, adc={"bound": 20.0}, noise={"output": 0.05})
    found, error = measured(model, mho.GradientDescent(inputs=inputs))
    z = ((found.gradient - error) * found.precision.sqrt()).double()
    n = z.numel()
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.var() - (1 - 1 / 64)) < 5 * math.sqrt(2 / n)
    assert np.corrcoef(found.gradient.flatten(), error.flatten())[0, 1] > 0.8


def test_an_estimate_needs_no_particular_units():
    """Scaled inputs and weights: the same errors in units of full scale."""
    model = layer((30, 40), cell=NOISY)
    scaled = nn.Linear(40, 30, bias=False).eval()
    with torch.no_grad():
        scaled.weight.copy_(7 * model.weight)
    hardware = model.analog["weight"].hardware
    wide = hardware.mapping.with_fields(w_max=7.0)
    dac = {"range": {"kind": "fixed", "value": 0.5}}
    mho.convert(scaled, hardware.with_fields(mapping=wide, dac=dac))
    method = mho.GradientDescent(iterations=3)
    first, second = written(model, method), written(scaled, method)
    assert second.errors == pytest.approx(first.errors, rel=1e-3)
    assert second.product_errors == pytest.approx(first.product_errors, rel=1e-3)


def test_exact_pulses_on_equal_devices_need_one_round():
    matrix = written(layer(), mho.GradientDescent())
    assert matrix.error < 1e-6
    assert matrix.iterations == 0
    assert matrix.pulses_up == 2 * 40 * 50
    assert matrix.pulses_down == 0
    assert matrix.inside == (1.0,)


def test_with_exact_pulses_and_reads_all_cells_end_within_the_threshold():
    """Devices that differ by 10 %: products and cells converge together."""
    model = layer(extent=0.6)
    method = mho.GradientDescent(
        pulse={"spread": 0.1}, threshold=0.005, iterations=60, batch=400, approach=0.8
    )
    matrix = written(model, method)
    error = (held(model) - model.weight.detach()).abs()
    assert matrix.unreachable.sum() == 0
    assert matrix.inside[-1] == 1
    assert matrix.iterations < 60
    # The last estimates have errors of their own, each of the size of what is left over sqrt(8).
    assert error.max() < 0.01
    assert matrix.error < 0.004
    assert matrix.errors[0] > 8 * matrix.error
    assert matrix.product_errors[-1] < 0.1 * matrix.product_errors[0]


def test_errors_fall_round_by_round_to_a_floor():
    matrix = written(
        layer((64, 64), cell=NOISY, **CONVERTERS),
        mho.GradientDescent(pulse={"spread": 0.05}, iterations=20),
    )
    products = matrix.product_errors
    assert len(products) == len(matrix.errors) == 21
    assert products[5] < 0.8 * products[0]
    late, last = np.mean(products[10:15]), np.mean(products[-5:])
    assert last < 0.95 * products[5]
    assert abs(last / late - 1) < 0.15


def test_gains_of_columns_are_made_up_for_by_cells():
    """c_i w_ij = target: the weights' error is that of the gains, the products' none."""
    model = layer(dac=RANGE, adc={"gain_spread": 0.05})
    method = mho.GradientDescent(threshold=0.004, iterations=60, batch=400, approach=0.8)
    matrix = written(model, method)
    gain = columns(model).gain[0]
    compensated = held(model) * gain[:, None] - model.weight.detach()
    off = (held(model) - model.weight).detach()
    assert compensated.square().mean().sqrt() < 0.1 * off.square().mean().sqrt()
    expected = ((1 / gain - 1)[:, None] * model.weight.detach()).square().mean().sqrt()
    assert matrix.error == pytest.approx(float(expected), rel=0.05)
    assert product_error(model) < 0.01
    assert product_error(mho.program(model, seed=1)) > 0.03


def test_offsets_of_columns_do_not_move_cells():
    """No weight can make up for them, and they drop out of the gradient."""
    model = layer(dac=RANGE, adc={"offset_spread": 0.05, "bound": 20.0})
    matrix = written(model, mho.GradientDescent())
    offset = 20 * columns(model).offset[0]
    assert matrix.iterations == 0
    assert (held(model) - model.weight).abs().max() < 1e-6
    exact = model.weight.detach().square().sum() / 3  # of a product, mean over inputs
    expected = float((offset.square().sum() / exact).sqrt())
    assert matrix.product_errors[0] == pytest.approx(expected, rel=0.1)


def test_nothing_is_known_of_columns_that_always_saturate():
    """An offset beyond the bound: cells of that column count as outside, and get no more pulses."""
    model = layer((30, 40), cell=NOISY, dac=RANGE, adc={"offset_spread": 1.0, "bound": 10.0})
    matrix = written(model, mho.GradientDescent(iterations=2))
    offset = columns(model).offset[0]
    blind = torch.from_numpy(matrix.outside.all(1))
    largest = 5 * float((model.weight.detach().square().sum(1) / 3).sqrt().max()) / 10
    assert 0 < blind.sum() < 30
    assert blind[offset.abs() > 1 + largest].all()
    assert (offset.abs()[blind] > 1 - largest).all()
    written(model, mho.WriteVerify(pulse={}, tolerance=0.9, column_errors=False))
    first = held(model)
    written(model, mho.GradientDescent(iterations=2))
    assert torch.equal(held(model)[blind], first[blind])


def test_every_round_has_the_errors_of_the_literal_loop():
    """Means over chips, 5 standard errors of the difference."""
    shape, rounds, chips, std, bound = (16, 20), 6, 12, 0.04, 3.0
    adc = {"steps": 60, "bound": bound, "gain_spread": 0.05, "offset_spread": 0.01}
    model = layer(shape, cell=NOISY, dac=RANGE, adc=adc, noise={"output": 0.03})
    method = mho.GradientDescent(
        pulse={"spread": 0.08}, iterations=rounds, batch=90, approach=0.6, threshold=0.03
    )
    ours = [written(model, method, seed=seed) for seed in range(chips)]
    rng, theirs = np.random.default_rng(7), []
    for _ in range(chips):
        gain = 1 + 0.05 * rng.standard_normal(shape[0])
        offset = 0.01 * rng.standard_normal(shape[0])
        theirs.append(
            gradient_descent(
                model.weight.detach().double().numpy(),
                std,
                0.08,
                gain,
                offset,
                bound,
                30,
                0.03,
                rounds,
                90,
                0.6,
                0.03,
                2.0,
                rng,
            )
        )
    found = np.array([[m.errors, m.product_errors] for m in ours])
    expected = np.array(theirs)
    difference = found.mean(0) - expected.mean(0)
    error = np.sqrt((found.var(0, ddof=1) + expected.var(0, ddof=1)) / chips)
    assert (np.abs(difference) < 5 * error).all()
    assert expected[:, 1, -1].mean() < 0.75 * expected[:, 1, 0].mean()


def test_better_than_write_and_verify_with_column_errors_and_not_with_ideal_ones():
    """8 bits: more than 20 % less error than reads through the same converters; ideal: reversed."""
    verify = {"pulse": {"spread": 0.05}, "iterations": 20}
    ratios = {True: [], False: []}
    for real in ratios:
        for seed in (1, 2):
            cell = {"programming": PCM_NOISE}
            model = layer((64, 64), seed, cell=cell, std=0.3, **(CONVERTERS if real else {}))
            written(model, mho.GradientDescent(**verify), seed)
            gradient = product_error(model)
            best = math.inf
            for tolerance in (0.01, 0.02, 0.04, 0.08):
                method = mho.WriteVerify(**verify, tolerance=tolerance, averages=4)
                written(model, method, seed)
                best = min(best, product_error(model))
            ratios[real].append(gradient / best)
    assert max(ratios[True]) < 0.8
    assert min(ratios[False]) > 1.0


def test_cells_of_pulsed_devices_descend_too():
    device = {"kind": "soft_bounds", "step": 0.002, "step_spread": 0.1, "cycle_noise": 0.3}
    model = layer(cell={"device": device}, extent=0.6)
    matrix = written(model, mho.GradientDescent(pulse=None, iterations=40, threshold=0.01))
    assert matrix.step is not None
    assert matrix.errors[0] == pytest.approx(float(model.weight.detach().square().mean().sqrt()))
    assert matrix.error < 0.02
    assert matrix.product_errors[-1] < 0.05


def test_arrays_are_corrected_one_by_one():
    """Row-slices have partial sums of their own, so each has a smaller gradient noise."""
    model = layer(
        (20, 60), cell=NOISY, dac=RANGE, adc={"gain_spread": 0.05},
        array={"rows": 16, "cols": 9},
    )  # fmt: skip
    matrix = written(model, mho.GradientDescent(iterations=15))
    assert matrix.arrays == 4 * 3
    assert matrix.reads == 4 * 15 * len(matrix.errors)
    gain = columns(model).gain  # (row-slices, out)
    per_cell = gain.repeat_interleave(15, 0).T
    compensated = (held(model) * per_cell - model.weight.detach()).square().mean().sqrt()
    assert compensated < 0.025


@pytest.mark.parametrize("mapping", ["differential", "single", "pairs", "table", "signed"])
def test_any_mapping_without_slices(mapping):
    """Amplitudes of all devices of a cell follow from the weight that is wanted of it."""
    model = nn.Linear(40, 30, bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(layer((30, 40), extent=0.8).weight)
    cell = {"kind": "composed", "g_max": 25e-6, "signed": mapping == "signed", **NOISY}
    mho.convert(model, mho.Hardware(cell=cell, mapping=mapping))
    matrix = written(model, mho.GradientDescent(iterations=15))
    assert matrix.product_errors[-1] < 0.7 * matrix.product_errors[0]
    assert matrix.error < 0.75 * matrix.errors[0]


def test_hardware_with_every_effect():
    """Drivers, wires, curves, polarities and faults act on the products that are compared."""
    model = chips.converted()
    mho.program(model, seed=2, method=mho.GradientDescent(iterations=15, amplitude=0.5, batch=600))
    for matrix in mho.programming_report(model).matrices:
        assert matrix.product_errors[-1] < 0.9 * matrix.product_errors[0]
    assert torch.isfinite(chips.output(model)).all()


def test_convolutions_and_calibrated_ranges():
    model = nn.Sequential(nn.Conv2d(3, 8, 3)).eval()
    hardware = mho.Hardware(
        cell={"kind": "composed", "g_max": 25e-6, **NOISY},
        dac={"bits": 8, "range": "calibrated"},
        adc={"bits": 8, "bound": "calibrated", "gain_spread": 0.05},
    )
    mho.convert(model, hardware)
    x = 2 * torch.rand(20, 3, 9, 9, generator=torch.Generator().manual_seed(0)) - 1
    with pytest.raises(mho.MhoError, match=r"call mho\.calibrate"):
        mho.program(model, method="gradient_descent")
    mho.calibrate(model, [x])
    mho.program(model, method=mho.GradientDescent(iterations=25, amplitude=0.8, batch=400))
    (matrix,) = mho.programming_report(model).matrices
    assert matrix.product_errors[-1] < 0.6 * matrix.product_errors[0]
    model(x)


def test_a_chip_is_a_function_of_its_seed_and_nobodys_random_numbers_move():
    model = layer((20, 30), cell=NOISY, **CONVERTERS)
    method = mho.GradientDescent(iterations=4)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = written(model, method, seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = held(model)
    mho.compensate(model, "global")
    other = written(model, method, seed=5)
    assert not torch.equal(held(model), weights)
    assert other.product_errors != first.product_errors
    torch.manual_seed(99)
    again = written(model, method, seed=4)
    assert torch.equal(held(model), weights)
    assert again.product_errors == first.product_errors


def test_noise_that_cells_gather_later_is_not_seen_and_the_chip_drifts():
    pcm = {**mho.load("pcm-joshi-2020").cell.model_dump(exclude={"kind"}), "read": None}
    method = mho.GradientDescent(iterations=5)
    model = layer((20, 30), cell=pcm)
    matrix = written(model, method)
    fresh = held(model)
    flicker = layer((20, 30), cell={**pcm, "read": mho.load("pcm-joshi-2020").cell.read})
    assert written(flicker, method).product_errors == matrix.product_errors
    mho.at(model, "30 d")
    ratio = held(model).norm() / fresh.norm()
    assert 0.4 < ratio < 0.8


def test_it_prints_and_plots(tmp_path):
    model = layer((20, 30), cell=NOISY, **CONVERTERS)
    mho.program(model, method={"kind": "gradient_descent", "iterations": 3})
    report = mho.programming_report(model)
    text = str(report)
    for part in ("gradient descent on products", "30", "reads of arrays", "time not known"):
        assert part in text
    left, right = report.plot().axes
    assert len(left.lines) == 3  # errors of cells, tolerance, errors of products
    assert tuple(left.lines[2].get_ydata()) == report.matrices[0].product_errors
    assert tuple(right.lines[0].get_ydata()) == report.matrices[0].inside
    assert report.plot(tmp_path / "report.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 1}, "greater than or equal to 2"),
        ({"iterations": 0}, "greater than or equal to 1"),
        ({"threshold": 0}, "greater than 0"),
        ({"significance": -1}, "greater than or equal to 0"),
        ({"approach": 1.5}, "less than or equal to 1"),
        ({"anneal": 0}, "greater than 0"),
        ({"amplitude": 1.1}, "less than or equal to 1"),
        ({"inputs": "binary"}, "'uniform' or 'gaussian'"),
        ({"pulse": {"noise": -1}}, "greater than or equal to 0"),
        ({"fill": 0.5}, "one-shot pulses set conductances up to g_max"),
        ({"pulse": None}, r"give `cell: \{device"),
    ],
)
def test_bad_methods(fields, message):
    model = layer((3, 4))
    with pytest.raises(mho.MhoError, match=message):
        mho.program(model, method={"kind": "gradient_descent", **fields})
    assert not model.analog["weight"].is_programmed


def test_what_cannot_be_written():
    broken = layer((3, 4))
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(mho.MhoError, match="not finite"):
        mho.program(broken, method="gradient_descent")
    sliced = nn.Linear(4, 3)
    mho.convert(sliced, mho.Hardware(mapping="bit_sliced"))
    with pytest.raises(mho.MhoError, match="use differential, single or signed"):
        mho.program(sliced, method="gradient_descent")
