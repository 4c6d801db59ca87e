"""Loaded lines: means, loads, partial sums that are averaged, chains without converters."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.circuits import Column, VoltageMean
from mho.errors import DataError, SpecError
from oracles.combination import line_voltage

LOW, HIGH = 1 / 15e3, 1 / 5e3
CELL = {"kind": "ideal", "g_min": LOW, "g_max": HIGH}


def lines(rows=None, mapping="ternary", **rule):
    own = {"zero": "g_max"} if mapping == "ternary" else {}
    return mho.Hardware(
        cell=CELL,
        mapping={"kind": mapping, "scaling": "fixed", "w_max": 1.0, **own},
        array={"rows": rows, "combine": {"kind": "voltage_mean", **rule}},
    )


def layer(hardware, rows=40, out=12, n=30):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(rows, out, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(2 * torch.rand(out, rows, generator=generator) - 1)
    mho.convert(model, hardware)
    return model, 2 * torch.rand(n, rows, generator=generator) - 1


def pairs(weight):
    """Conductances of a ternary pair: a zero has both devices at the larger one."""
    w = weight.detach().numpy()
    level = np.sign(w) * (np.abs(w) >= 0.5)
    return np.where(level < 0, LOW, HIGH), np.where(level > 0, LOW, HIGH)


@pytest.mark.parametrize("load", [0.0, 2e-3])
@pytest.mark.parametrize("rows", [None, 16])
def test_amplified_means_against_kirchhoff(load, rows):
    """Each column at the voltage where no current is left over; 40 rows as 14, 13 and 13."""
    model, x = layer(lines(rows, load=load, gain=30.0))
    plus, minus = pairs(model[0].weight)
    slices = [slice(0, 40)] if rows is None else [slice(0, 14), slice(14, 27), slice(27, 40)]
    y = model(x).detach().numpy()
    for vector in range(3):
        drives = x[vector].numpy()
        for column in range(12):
            parts = [
                line_voltage(plus[column, s], drives[s], load)
                - line_voltage(minus[column, s], drives[s], load)
                for s in slices
            ]
            assert y[vector, column] == pytest.approx(30 * np.mean(parts), abs=2e-5)


def test_without_a_gain_the_digital_side_restores_the_product():
    """Balanced columns have the mid conductance in the mean: exact; a load changes nothing."""
    hardware = [lines(mapping="binary"), lines(mapping="binary", load=5e-3), lines(20, "binary")]
    for one in hardware:
        model, x = layer(one)
        half = torch.cat((torch.ones(12, 10), -torch.ones(12, 10)), 1)
        with torch.no_grad():
            model[0].weight.copy_(torch.cat((half, half), 1))
        assert torch.allclose(model(x), x @ model[0].weight.T, atol=1e-5)


def test_what_converters_see_is_a_voltage():
    """A bound of 0.1 of the full drive limits V+ - V-, whatever the number of rows."""
    hardware = mho.override(
        lines(mapping="binary"),
        {"adc.bound": 0.1, "dac.range": {"kind": "fixed", "value": 1.0}},
    )
    model, x = layer(hardware)
    free, _ = layer(lines(mapping="binary"))
    plus = torch.tensor(np.where(free[0].weight.detach().numpy() < 0, LOW, HIGH))
    minus = HIGH + LOW - plus
    mean = plus / plus.sum(1, keepdim=True) - minus / minus.sum(1, keepdim=True)
    unit = 40 * (LOW + HIGH) / 2 / (HIGH - LOW)
    assert hardware.array.combine.full_scale(Column(40, LOW, HIGH, 1)) == pytest.approx(unit)
    expected = (x.double() @ mean.T).clamp(-0.1, 0.1) * unit
    assert (expected.abs() == 0.1 * unit).float().mean() > 0.1
    assert torch.allclose(model(x).detach().double(), expected, atol=1e-4)


@pytest.mark.parametrize("mapping", ["binary", "ternary"])
def test_gradients_are_those_of_the_normalized_product(mapping):
    """The gradient of a latent weight goes through its conductances and their sum."""
    model, x = layer(lines(gain=7.0, mapping=mapping))
    torch.autograd.backward(model(x).square().sum())
    weight = model[0].weight.detach()
    zero = mapping == "ternary"
    level = weight.sign() * (weight.abs() >= 0.5) if zero else torch.where(weight < 0, -1.0, 1.0)
    level = level.double().requires_grad_()
    if zero:
        plus = HIGH - (HIGH - LOW) * (level.abs() - level) / 2
        minus = HIGH - (HIGH - LOW) * (level.abs() + level) / 2
    else:
        plus = (HIGH + LOW) / 2 + (HIGH - LOW) / 2 * level
        minus = (HIGH + LOW) / 2 - (HIGH - LOW) / 2 * level
    mean = plus / plus.sum(1, keepdim=True) - minus / minus.sum(1, keepdim=True)
    (7 * x.double() @ mean.T).square().sum().backward()
    assert torch.allclose(model[0].weight.grad.double(), level.grad, rtol=1e-3, atol=1e-5)


def test_ternary_levels():
    mapping = mho.load("imac-9nm").mapping
    w = torch.tensor([[-1.0, -0.51, -0.49, 0.0, 0.5, 0.8]])
    g = mapping.encode(w, LOW, HIGH)
    assert torch.equal(
        mapping.decode(g, LOW, HIGH)[0].round(), torch.tensor([[-1.0, -1, 0, 0, 1, 1]])
    )
    assert torch.allclose(g[:, 0, 2:4], torch.tensor(HIGH))  # both devices of a zero
    other = mho.mapping.Ternary(threshold=0.6)
    assert torch.allclose(other.encode(w, LOW, HIGH)[:, 0, 1:5], torch.tensor(LOW))


def test_programmed_chains_are_the_trained_ones():
    """Cells without errors; amplifiers with offsets and gains of their own differ from them."""
    model, x = layer(lines(16, gain=30.0))
    before = model(x).detach()
    mho.program(model, seed=1)
    assert torch.allclose(model(x), before, atol=1e-5)
    spread = mho.override(
        lines(16, gain=30.0),
        {"adc.offset_spread": 0.002, "dac.range": {"kind": "fixed", "value": 1.0}},
    )
    model, _ = layer(spread, out=2000, n=1)
    before = model(x[:1]).detach()
    mho.program(model, seed=1)
    error = (model(x[:1]) - before).detach()
    std = 30 * 0.002 / 3**0.5  # the mean of three amplifiers' offsets, at their inputs
    assert float(error.std()) == pytest.approx(std, rel=5 / (2 * 2000) ** 0.5)


def test_partition_counts_of_the_chain():
    """IMAC-Sim's formula for 400-120-84-10, with a row for the bias."""
    counts = {
        32: ([13, 4, 3], [4, 3, 1]),
        64: ([7, 2, 2], [2, 2, 1]),
        128: ([4, 1, 1], [1, 1, 1]),
        256: ([2, 1, 1], [1, 1, 1]),
        512: ([1, 1, 1], [1, 1, 1]),
    }
    for size, found in counts.items():
        assert mho.partition_counts((400, 120, 84, 10), size, size) == found
    model = nn.Sequential(nn.Linear(401, 120, bias=False))
    mho.convert(model, mho.override(lines(32, gain=1.0), {"array.cols": 32}))
    partition = model[0].analog["weight"].geometry.partition
    assert (len(partition.rows), len(partition.columns)) == (13, 4)
    with pytest.raises(SpecError, match="at least two widths"):
        mho.partition_counts([400], 32, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adc.bits": 8, "adc.bound": 1.0}, "averaged before any converter"),
        ({"adc.overflow": "retry", "adc.bound": 1.0}, "averaged before any converter"),
        ({"dac.scheme": {"kind": "positive_negative", "sum": "digital"}}, "summed digitally"),
        ({"array.wires": "first_order"}, "end in a virtual ground"),
        ({"cell.g_min": 0.0}, "has no voltage"),
        ({"noise.read": {"kind": "additive", "sigma": 0.1}}, "law of added currents"),
        ({"array.combine.gain": -1.0}, "greater than 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    ready = mho.override(lines(gain=30.0), {"dac.range": {"kind": "fixed", "value": 1.0}})
    with pytest.raises(SpecError, match=message):
        mho.override(ready, change)


@pytest.mark.parametrize("mapping", ["single", "bit_sliced"])
def test_amplifiers_have_no_digital_side(mapping):
    """Neither for a reference that is subtracted there, nor for slices that are added there."""
    with pytest.raises(SpecError, match="nothing is added digitally"):
        lines(mapping=mapping, gain=30.0)
    lines(mapping=mapping)
    reference = {"kind": "single", "reference": "cell"}
    assert lines(gain=30.0).with_fields(mapping=reference).mapping.planes == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_differences_of_columns(dtype):
    """V+ - V- of almost alike columns: weights and outputs are rounded, conductances are not."""
    model, x = layer(mho.load("imac-9nm"))
    model[0].weight.data *= 0.52  # 1 in 25 is not 0
    low = copy.deepcopy(model).to(dtype)
    x = torch.where(x < 0, -1.0, 1.0)
    model[0].weight.data = low[0].weight.detach().float()
    y = low(x.to(dtype)).float()
    assert (y - model(x)).norm() < 2 * torch.finfo(dtype).eps * y.norm()


def test_a_column_that_lost_its_cells_has_no_voltage():
    column, g = Column(3, LOW, HIGH, 1), torch.full((2, 2, 3), HIGH)
    g[1, 0] = 0
    with pytest.raises(DataError, match="no cells and no load"):
        VoltageMean().effective(g, None, column)
    assert torch.isfinite(VoltageMean(load=1e-3).effective(g, None, column)).all()


def test_a_load_defines_the_voltage_of_cells_that_may_be_off():
    hardware = mho.override(lines(gain=1.0, load=1e-3), {"cell.g_min": 0.0})
    assert isinstance(hardware.array.combine, VoltageMean)


@pytest.mark.parametrize("load", [0.0, 1e-3])
def test_wires_of_the_chain_against_a_dense_network(load):
    """Every node of a small pair of arrays: rows shared by both columns of each weight."""
    from mho.circuits import Resistive

    wires = Resistive(row=40.0, column=25.0, driver=10.0)
    rule, (rows, out) = VoltageMean(load=load, gain=1.0), (5, 3)
    generator = torch.Generator().manual_seed(2)
    g = torch.where(torch.rand(2, out, rows, generator=generator) < 0.5, LOW, HIGH).double()
    found = rule.effective(g, wires, Column(rows, LOW, HIGH, 1)) / (HIGH - LOW)
    assert torch.allclose(found, loaded_network(g.numpy(), 40.0, 25.0, 50.0, load), atol=1e-9)
    free = rule.effective(g, Resistive(row=0.0, column=0.0), Column(rows, LOW, HIGH, 1))
    assert torch.allclose(free, rule.effective(g, None, Column(rows, LOW, HIGH, 1)))


def loaded_network(g, row, column, source, load):
    """Voltages at the feet of the columns for each driver alone: nodal analysis, densely."""
    planes, out, rows = g.shape
    lines = g.transpose(1, 0, 2).reshape(planes * out, rows)  # columns side by side
    count = len(lines)
    size = 2 * rows * count + count
    matrix, right = np.zeros((size, size)), np.zeros((size, rows))
    upper = lambda i, j: i * count + j  # noqa: E731 - node of row i at column j
    lower = lambda i, j: (rows + i) * count + j  # noqa: E731
    foot = lambda j: 2 * rows * count + j  # noqa: E731

    def join(a, b, conductance):
        matrix[a, a] += conductance
        matrix[b, b] += conductance
        matrix[a, b] -= conductance
        matrix[b, a] -= conductance

    for i in range(rows):
        matrix[upper(i, 0), upper(i, 0)] += 1 / source
        right[upper(i, 0), i] += 1 / source
        for j in range(count):
            join(upper(i, j), lower(i, j), lines[j, i])
            if j + 1 < count:
                join(upper(i, j), upper(i, j + 1), 1 / row)
            join(lower(i, j), lower(i + 1, j) if i + 1 < rows else foot(j), 1 / column)
    for j in range(count):
        matrix[foot(j), foot(j)] += load
    solved = np.linalg.solve(matrix, right)[-count:]
    return torch.tensor(solved.reshape(out, planes, rows).transpose(1, 0, 2).copy())


def test_the_preset():
    """Golden resistances per weight: 9.242 ohm along a row, 11.552 ohm along a column."""
    hardware = mho.load("imac-9nm")
    row, column = hardware.array.wires.segments
    assert 2 * row == pytest.approx(9.242, abs=1e-3)
    assert column == pytest.approx(11.552, abs=1e-3)
    assert 1 / hardware.cell.g_min == pytest.approx(15e3)
    model, x = layer(hardware, rows=65)
    mho.program(model, seed=1)
    with torch.no_grad():
        free, _ = layer(mho.override(hardware, {"array.wires": None}), rows=65)
        both = torch.stack([model(x).flatten(), free(x).flatten()])
    assert 0.9 < float(torch.corrcoef(both)[0, 1]) < 0.9999


def test_programming_noise_in_training_is_that_of_the_chips():
    """Errors of cells go through their columns: the same spread of outputs, at any gain."""
    noisy = mho.override(
        lines(20, "binary", gain=30.0),
        {
            "cell": {
                "kind": "composed",
                "g_min": LOW,
                "g_max": HIGH,
                "programming": {
                    "kind": "gaussian",
                    "std": {"kind": "constant", "value": 0.02},
                    "full_scale": 1.0,
                },
            }
        },
    )
    model, x = layer(noisy, out=2000, n=1)
    exact = model(x).detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    adapted = mho.adapt(model, mho.Adaptation(noise=mho.ProgrammingNoise(scale=1.0)), optimizer)
    trained = (model.train()(x) - exact).detach().std()
    adapted.remove()
    mho.program(model.eval(), seed=1)
    chip = (model(x) - exact).detach().std()
    # Two standard deviations of 2000 values each, and the mean over 40 x 2000 cells below them.
    assert float(trained) == pytest.approx(float(chip), rel=5 * (1 / 4000 + 1 / 4000) ** 0.5)


def test_additive_noise_has_no_meaning_behind_amplifiers():
    model, _ = layer(lines(gain=30.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SpecError, match="amplifiers of some gain"):
        mho.adapt(model, mho.Adaptation(noise=mho.AdditiveNoise(std=0.1)), optimizer)


@pytest.mark.slow
def test_the_correlation_ladder():
    """The first layer of the chain, 401 x 120 binary weights: wires matter less on every step.

    An own sparse solution of the published simulator's network, with its weights and 24 other
    inputs, had 0.20, 0.41, 0.71, 0.946 and 0.989.
    """
    generator = torch.Generator().manual_seed(1)
    weight = torch.where(torch.rand(120, 401, generator=generator) < 0.5, -1.0, 1.0)
    blobs = nn.functional.avg_pool2d(torch.randn(24, 1, 26, 26, generator=generator), 7, 1)
    x = torch.cat((torch.where(blobs.flatten(1) > 0.07, 1.0, -1.0), torch.ones(24, 1)), 1)
    found = []
    for rows, cols in ((401, 120), (101, 120), (58, 60), (31, 30), (26, 15)):
        sizes = {"array.rows": rows, "array.cols": cols, "mapping": lines(mapping="binary").mapping}
        hardware, outputs = mho.override(mho.load("imac-9nm"), sizes), []
        for one in (hardware, mho.override(hardware, {"array.wires": None})):
            model = nn.Sequential(nn.Linear(401, 120, bias=False))
            with torch.no_grad():
                model[0].weight.copy_(weight)
                mho.convert(model, one)
                mho.program(model, seed=0)
                outputs.append(model(x).flatten())
        partition = model[0].analog["weight"].geometry.partition
        found.append(float(torch.corrcoef(torch.stack(outputs))[0, 1]))
        assert partition.arrays == (1, 4, 14, 52, 128)[len(found) - 1]
    assert found == sorted(found)
    assert found[0] < 0.5
    assert found[3] > 0.9
    assert found[4] > 0.97


@pytest.mark.parametrize("kind", ["voltage_mean", "charge_average", "resistance_sum"])
def test_convolutions_are_products_of_their_patches(kind):
    """Two channels of nine pixels on arrays of their own: the layer of the unfolded image."""
    rows = {"rows": 9, "combine": {"kind": kind}}
    cell, mapping, dac = CELL, "binary", {}
    if kind == "voltage_mean":
        rows["combine"]["gain"] = 3.0
    elif kind == "charge_average":
        cell, mapping = "capacitor_ladder", "offset"
    else:
        dac = {"bits": 1, "range": {"kind": "fixed", "value": 1.0}}
    hardware = mho.Hardware(
        cell=cell, array=rows, dac=dac, mapping={"kind": mapping, "scaling": "fixed", "w_max": 1.0}
    )
    generator = torch.Generator().manual_seed(3)
    x = 2 * torch.rand(2, 2, 5, 5, generator=generator) - 1
    image, dense = nn.Conv2d(2, 3, 3, bias=False), nn.Linear(18, 3, bias=False)
    with torch.no_grad():
        dense.weight.copy_(2 * torch.rand(3, 18, generator=generator) - 1)
        image.weight.copy_(dense.weight.reshape(3, 2, 3, 3))
    image, dense = nn.Sequential(image), nn.Sequential(dense)
    patches = nn.functional.unfold(x, 3).transpose(1, 2)
    for programmed in (False, True):
        for model in (image, dense):
            mho.convert(model, hardware) if not programmed else mho.program(model, seed=1)
        expected = dense(patches).transpose(1, 2).reshape(2, 3, 3, 3)
        assert expected.std() > 0.1
        assert torch.allclose(image(x), expected, atol=1e-5)
