"""Strings of binary cells: popcounts, spread, delays, power, and a layer on chips."""

import math

import pytest
import torch
from torch import nn

import mho
from mho.circuits import Column, ResistanceSum
from mho.errors import DataError, SpecError
from oracles.combination import series_resistance

LOW, HIGH = 50e-6, 100e-6
CELL = {"kind": "magnetic_junction", "g_min": LOW, "g_max": HIGH}


def strings(cell=(), rows=64, adc=None, **rule):
    return mho.Hardware(
        cell={**CELL, **dict(cell)},
        mapping={"kind": "binary", "scaling": "fixed", "w_max": 1.0},
        array={
            "rows": rows,
            "partition": "greedy",
            "combine": {"kind": "resistance_sum", "on_resistance": 700.0, **rule},
        },
        dac={"bits": 1, "range": {"kind": "fixed", "value": 1.0}},
        adc=adc or {},
    )


def signs(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.where(torch.rand(*shape, generator=generator) < 0.5, -1.0, 1.0)


def layer(hardware, rows=64, out=60, n=500):
    model = nn.Sequential(nn.Linear(rows, out, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(signs(out, rows))
    mho.convert(model, hardware)
    return model, signs(n, rows, seed=1)


def binary(weight):
    return torch.stack((torch.where(weight > 0, HIGH, LOW), torch.where(weight > 0, LOW, HIGH)))


def test_resistance_is_linear_in_the_popcount():
    """R = n R_low + (N - n) R_high, against a literal loop, and the layer's sum from it."""
    weight, x = signs(60, 64), signs(500, 64, seed=1)
    rule = ResistanceSum(on_resistance=700.0)
    found = rule.resistance(binary(weight).double(), x).float()
    low, high = 1 / HIGH + 700, 1 / LOW + 700
    agree = (64 + x @ weight.T) / 2
    assert torch.allclose(found, agree * low + (64 - agree) * high, rtol=1e-6)
    g = binary(weight)[:, 3].numpy()
    assert float(found[5, 3]) == pytest.approx(series_resistance(*g, x[5].numpy(), 700), rel=1e-6)
    model, x = layer(strings())
    y = model(x).detach()
    assert torch.allclose(y, (64 * (low + high) - 2 * found.float()) / (high - low), atol=1e-3)
    assert torch.equal(y.round(), x @ weight.T)


def test_the_same_popcount_as_by_currents():
    """The same devices, added as conductances on a pair of columns."""
    model, x = layer(strings())
    currents = mho.Hardware(cell=CELL, mapping={"kind": "binary", "scaling": "fixed", "w_max": 1.0})
    other, _ = layer(currents)
    assert torch.equal(model(x).round(), other(x).round())
    delays = ResistanceSum(on_resistance=700.0).delay(torch.tensor(1e6))
    both = torch.stack([model(x).flatten(), other(x).flatten()]).detach()
    assert float(torch.corrcoef(both)[0, 1]) > 0.999
    assert float(delays) == pytest.approx(1e6 * 100e-15 * math.log(2))


def test_devices_as_they_are():
    """Against literal strings of a chip's own junctions, offsets and all; two row-slices."""
    model, x = layer(strings({"resistance_spread": 0.05}), rows=96)
    mho.program(model, seed=4)
    crossbar = model[0].analog["weight"]
    stream = mho.ops.Stream(4, crossbar.tile)
    cells = mho.cells.CellState(crossbar.programmed, None)
    g = crossbar.hardware.cell.conductance(cells, 0.0, stream).double()
    rule, total = crossbar.hardware.array.combine, 0.0
    low, high = 1 / HIGH + 700, 1 / LOW + 700
    for rows in (slice(0, 64), slice(64, 96)):
        resistance = rule.resistance(g[:, :, rows], x[:, rows])
        count = rows.stop - rows.start
        total = total + (count * (low + high) - 2 * resistance) / (high - low)
    y = model(x).detach()
    assert torch.allclose(y, total.float(), atol=2e-3)
    spread = (y - x @ model[0].weight.detach().T).std()
    # A selected resistance has the variance s^2 R^2, in units of (R_high - R_low) / 2.
    mean = 0.05 * math.sqrt(96 * (1e4**2 + 2e4**2) / 2) * 2 / 1e4
    assert float(spread) == pytest.approx(mean, rel=0.15)


def test_a_cell_that_lost_its_conductance_cuts_the_string():
    g = torch.full((2, 2, 3), HIGH)
    g[1, 0, 2] = 0
    with pytest.raises(DataError, match="cuts its column"):
        ResistanceSum().effective(g, None, Column(3, LOW, HIGH, 1))


def test_spread_of_resistances_and_failed_writes():
    cell = mho.cells.MagneticJunction(
        g_min=LOW, g_max=HIGH, resistance_spread=0.04, write_error=0.1
    )
    stream = mho.ops.Stream(1, "x")
    target = torch.full((2, 300, 300), HIGH)
    state = cell.program(target, stream)
    n = target.numel()
    failed = float((state.programmed == LOW).float().mean())
    assert abs(failed - 0.1) < 5 * math.sqrt(0.09 / n)
    ratio = state.programmed / cell.conductance(state, 0.0, stream)
    assert abs(float(ratio.mean()) - 1) < 5 * 0.04 / math.sqrt(n)
    assert float(ratio.std()) == pytest.approx(0.04, rel=5 / math.sqrt(2 * n))


def test_jitter():
    """In units of the delay of half a step of resistance."""
    model, x = layer(strings(jitter=50e-12, capacitance=200e-15, threshold=0.25))
    error = (model(x) - x @ model[0].weight.detach().T).detach()
    std = 50e-12 / (200e-15 * math.log(4) * 1e4 / 2)
    n = error.numel()
    assert float(error.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * n))


def test_the_converter_resolves_every_sum():
    """65 levels for the 65 sums of 64 cells: exact without errors, and coarse with half of them."""
    model, x = layer(strings(adc={"steps": 64, "bound": 64.0}))
    exact = x @ model[0].weight.detach().T
    assert torch.allclose(model(x).detach(), exact, atol=1e-4)
    coarse, _ = layer(strings(adc={"steps": 32, "bound": 64.0}))
    error = (coarse(x).detach() - exact).abs()
    assert float(error.max()) == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("rows", [16, 64])
def test_power_over_that_of_currents(rows):
    """V^2 sum G over V^2 / sum R: N^2 for equal devices, N^2 mean(G) mean(R) in general."""
    weight, x = signs(50, rows), signs(40, rows, seed=2)
    g, rule = binary(weight).double(), ResistanceSum()
    series = rule.resistance(g, x)
    parallel = torch.where(x[:, None] > 0, g[0], g[1]).sum(-1)
    ratio = float((series * parallel).mean())
    assert ratio == pytest.approx(rows**2 * 0.75 * 1.5, rel=0.03)
    equal = torch.full_like(g, HIGH)
    assert float((rule.resistance(equal, x) * (HIGH * rows)).mean()) == pytest.approx(rows**2)


def test_the_sign_of_an_input_has_the_gradient_of_its_limit():
    x = torch.tensor([[-2.0, -0.5, 0.0, 0.3, 4.0]], requires_grad=True)
    model = nn.Sequential(nn.Linear(5, 1, bias=False))
    nn.init.ones_(model[0].weight)
    mho.convert(model, strings())
    y = model(x)
    assert y.item() == pytest.approx(1.0, abs=1e-4)  # -1 - 1 + 1 + 1 + 1
    y.sum().backward()
    assert torch.allclose(x.grad, torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0]]), atol=1e-4)


def test_binary_weights_train():
    """A network of signs learns by the gradient of the weights behind them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = signs(400, 64, seed=3)
        classes = (x @ signs(64, 1, seed=4))[:, 0] > 0
        model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 2, bias=False))
        mho.convert(model, strings())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        adapted = mho.adapt(model, mho.Adaptation(clip={"kind": "fixed", "value": 1.0}), optimizer)
        for _ in range(150):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x) / 8, classes.long()).backward()
            optimizer.step()
        adapted.remove()
        model.eval()
        assert all(p.detach().abs().max() <= 1 for p in model.parameters())
        right = (model(x).argmax(1) == classes).float().mean()
        assert float(right) > 0.9
        mho.program(model, seed=1)  # states without errors: the chip is the trained network
        assert float((model(x).argmax(1) == classes).float().mean()) == float(right)


def test_the_preset_runs():
    hardware = mho.load("samsung-mram-2022")
    assert (hardware.array.rows, hardware.array.cols, hardware.dac.bits) == (64, 64, 1)
    model, x = layer(hardware, rows=128, out=40)
    mho.program(model, seed=1)
    with torch.no_grad():
        both = torch.stack([model(x).flatten(), (x @ model[0].weight.T).flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.95
    # 0.03 of the step for one more match, which is 2 of the signal.
    assert hardware.array.combine.noise(Column(64, LOW, HIGH, 1)) / 2 == pytest.approx(
        0.03, abs=2e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dac.bits": 2}, "selects one of two paths"),
        ({"mapping": "ternary"}, "two complementary paths"),
        ({"mapping": "differential"}, "two complementary paths"),
        ({"noise.input": 0.1}, "no noise"),
        ({"dac.gain_spread": 0.1}, "only selects a path"),
        ({"array.wires": "first_order"}, "in series with the cells"),
        ({"cell": {"kind": "ideal"}}, "g_min above 0"),
        ({"cell.g_min": 0.0}, "antiparallel junction conducts too"),
        ({"dac.rounding": "stochastic"}, "not rounded"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        mho.override(strings(), change)
