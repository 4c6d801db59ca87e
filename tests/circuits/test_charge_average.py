"""C-2C ladders and the charges that they share: golden numbers, oracles, noise, and a chip."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.cells import CapacitorLadder, ladder_ratio, ladder_weights
from mho.circuits import ChargeAverage, Column
from mho.errors import SpecError
from mho.ops import Stream
from oracles.combination import ladder_nodes, nonlinearity, shared_ladders

BITS = 8
CODES = np.arange(2**BITS)
DIGITS = CODES[:, None] >> np.arange(BITS) & 1


def nominal(parasitic=0.0, n=BITS):
    ones = torch.ones(n, dtype=torch.float64)
    return ladder_weights(ones, 2 * ones[1:], ones[0], parasitic)


def test_ideal_weights_are_exact():
    weights, output = nominal()
    assert torch.equal(weights, 2.0 ** torch.arange(8) / 256)
    assert output == 2.0


@pytest.mark.parametrize("parasitic", [0.0, 0.03])
def test_every_node_balances_its_charge(parasitic):
    """Against one linear system of all nodes, with every capacitor off."""
    rng = np.random.default_rng(3)
    bit, coupling = 1 + 0.1 * rng.normal(size=5), 2 + 0.1 * rng.normal(size=4)
    end = torch.tensor(1.1, dtype=torch.float64)
    weights, _ = ladder_weights(torch.tensor(bit), torch.tensor(coupling), end, parasitic)
    for code in range(32):
        literal = ladder_nodes(bit, coupling, 1.1, parasitic, code)
        digits = code >> torch.arange(5) & 1
        assert float((digits * weights).sum()) == pytest.approx(literal, abs=1e-13)


@pytest.mark.parametrize(
    ("parasitic", "ratio", "inl", "dnl"),
    [(0.01, 2.0067, 0.41, 0.82), (0.05, 2.0332, 2.02, 4.04), (0.1, 2.0660, 3.96, 7.92)],
)
def test_golden_parasitics(parasitic, ratio, inl, dnl):
    """Capacitance to ground makes the more significant bits too heavy."""
    weights, _ = nominal(parasitic)
    assert float(weights[7] / weights[6]) == pytest.approx(ratio, abs=1e-4)
    found = nonlinearity(DIGITS @ weights.numpy())
    assert found == pytest.approx((inl, dnl), abs=0.005)


def test_the_ratio_far_from_the_end():
    assert ladder_ratio(0.0) == 2
    assert ladder_ratio(0.01) == pytest.approx(2.00666, abs=1e-5)
    assert ladder_ratio(0.05) == pytest.approx(2.0332, abs=1e-4)
    weights, _ = nominal(0.05, n=24)
    assert float(weights[23] / weights[22]) == pytest.approx(ladder_ratio(0.05), rel=1e-12)


@pytest.mark.parametrize(
    ("mismatch", "inl", "dnl"),
    [(0.001, 0.08, 0.13), (0.002, 0.15, 0.25), (0.005, 0.37, 0.62), (0.01, 0.78, 1.30)],
)
def test_golden_mismatch(mismatch, inl, dnl):
    """Mean of the largest INL and DNL over 2000 ladders of a chip.

    The published table is of an own calculation rounded to 0.01 and with an error of its own, which
    is unknown and taken as that of some hundred ladders.
    """
    cell, ladders = CapacitorLadder(mismatch=mismatch), 2000
    codes = torch.arange(256).expand(1, ladders, 256) / 256
    stream = Stream(5, "ladder")

    # One ladder for all codes: the capacitors are drawn for a matrix of one code each.
    xi = mismatch * stream.normal("capacitors", (2 * BITS, ladders)).double()
    weights, output = ladder_weights(1 + xi[:8], 2 + 2**0.5 * xi[8:15], 1 + xi[15], 0.0)
    levels = torch.tensor(DIGITS, dtype=torch.float64) @ weights
    found = np.array([nonlinearity(one) for one in levels.T.numpy()])
    error = 5 * found.std(0) * math.sqrt(1 / ladders + 1 / 200) + 0.005
    assert (np.abs(found.mean(0) - (inl, dnl)) < error).all()
    # The cell's own draws are by the same formula: the error of its codes has the same spread.
    held = cell.conductance(cell.program(codes, stream), 0.0, stream)[0].double()
    passed = (levels * output / 2).std(1).numpy()
    assert held.std(0)[1:].numpy() == pytest.approx(passed[1:], rel=7 / math.sqrt(ladders))


def test_without_mismatch_the_cell_holds_codes_exactly_for_ever():
    cell, stream = CapacitorLadder(), Stream(1, "x")
    target = torch.arange(256)[None, None] / 256
    state = cell.program(target + 0.4 / 256, stream)
    assert torch.equal(cell.conductance(state, 0.0, stream), target)
    assert torch.equal(cell.conductance(state, 3e7, stream), target)
    assert float(cell.program(torch.ones(1, 1, 1), stream).programmed) == 255 / 256


@pytest.mark.parametrize("line", [0.0, 100e-15])
def test_a_column_shares_its_charges(line):
    """One system of all nodes, against the mean with the attenuation of the line."""
    rng = np.random.default_rng(4)
    codes, drives = rng.integers(0, 256, 12), rng.uniform(-1, 1, 12)
    rule = ChargeAverage(cell_capacitance=4e-15, line_capacitance=line)
    literal = shared_ladders(codes, drives, 8, line / 2e-15)
    mean = (codes / 256 * drives).sum() / rule.full_scale(Column(12, 0.0, 1.0, 1))
    assert mean == pytest.approx(literal, abs=1e-13)


def layer(hardware, rows=48, out=400, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(rows, out, bias=False))
        x = 2 * torch.rand(200, rows) - 1
    exact = model(x).detach()
    mho.convert(model, hardware)
    return model, x, exact


def charges(**rule):
    return mho.Hardware(
        cell="capacitor_ladder",
        mapping="offset",
        array={"combine": {"kind": "charge_average", **rule}},
        dac={"range": {"kind": "fixed", "value": 1.0}},
    )


def test_a_layer_computes_the_product_of_its_levels():
    """Weights on 254 steps of each column's largest; the line's capacitance changes nothing."""
    for hardware in (charges(), charges(line_capacitance=300e-15)):
        model, x, exact = layer(hardware)
        weight = model[0].weight.detach()
        scale = weight.abs().amax(1, keepdim=True)
        rounded = (weight / scale * 127).round() / 127 * scale
        y = model(x).detach()
        assert torch.allclose(y, x @ rounded.T, atol=1e-5)
        mho.program(model, seed=1)
        assert torch.allclose(model(x).detach(), y, atol=1e-5)
        assert not torch.allclose(y, exact, atol=1e-5)


@pytest.mark.parametrize("line", [0.0, 192e-15])
def test_sampling_noise(line):
    """sqrt(k T / C) over the full drive, in the units of the product N + C_line / C larger."""
    model, x, _ = layer(charges(line_capacitance=line, full_drive=0.5, temperature=350.0))
    without, _, _ = layer(charges(line_capacitance=line))
    scale = model[0].weight.detach().abs().amax(1)
    error = ((model(x) - without(x)) / scale).detach()
    capacitance = 48 * 4e-15 + line
    std = math.sqrt(1.380649e-23 * 350 / capacitance) / 0.5 * (48 + line / 4e-15)
    n = error.numel()
    assert float(error.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * n))
    assert abs(float(error.mean())) < 5 * std / math.sqrt(n)


@pytest.mark.parametrize("mismatch", [0.002, 0.005])
def test_error_of_a_product_as_on_the_chip(mismatch):
    """Wang et al. (2022): below 0.5 %, here rms of the full range of a product."""
    model, x, _ = layer(mho.override(charges(full_drive=0.5), {"cell.mismatch": mismatch}), 64)
    with torch.no_grad():
        weight, ideal = model[0].weight, layer(charges(), 64)[0]
        before = ideal(x)
        mho.program(model, seed=2)
        signal = (model(x) - before) / (64 * weight.abs().amax(1))
    assert 1e-5 < float(signal.square().mean().sqrt()) < 0.005


def test_a_real_reference_takes_a_part_of_the_parasitics_off():
    """What all columns get wrong, from the ladder's weights: digits of weights are 0 or 1 evenly.

    A reference ladder holds the middle code, whose top bit has an error of the same sign.
    """
    heavy = mho.override(charges(), {"cell.parasitic": 0.05})
    found = []
    for reference in ("ideal", "cell"):
        model, _, _ = layer(mho.override(heavy, {"mapping.reference": reference}))
        mho.program(model, seed=3)
        one, weight = torch.ones(1, 48), model[0].weight.detach()
        with torch.no_grad():
            error = (model(one) - one @ weight.T) / weight.abs().amax(1)
        found.append(float(error.mean()))  # what all columns have in common
    bits = nominal(0.05)[0]
    mean, middle = float(bits.sum() / 2) - 255 / 512, float(bits[7]) - 0.5
    # 5 standard errors of 400 x 48 uniform codes.
    error = 5 * 48 * 256 / 127 * (1 - 2 * float(bits[7])) * 0.5 / math.sqrt(400 * 48) + 0.05
    assert found[0] == pytest.approx(48 * 256 / 127 * mean, abs=error)
    assert found[1] == pytest.approx(48 * 256 / 127 * (mean - middle), abs=error)
    assert abs(found[1]) < abs(found[0]) / 2


def test_the_preset_runs():
    hardware = mho.load("intel-c2c-2022")
    assert (hardware.array.rows, hardware.array.cols) == (64, 16)
    assert hardware.array.combine.cell_capacitance == 4e-15
    model, x, exact = layer(hardware, 128, 40)
    mho.calibrate(model, [x])
    mho.program(model, seed=1)
    with torch.no_grad():
        error = (model(x) - exact).std() / exact.std()
    assert error < 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"array.wires": "first_order"}, "charges settle whatever the wires"),
        ({"noise.read": {"kind": "additive", "sigma": 0.1}}, "law of added currents"),
        ({"adc.front_end": {}}, "takes in currents"),
        ({"cell.programming": {"kind": "acceptance", "acceptance_range": 2.0}}, "digital"),
        ({"cell.g_min": 0.1}, "codes start at 0"),
        ({"mapping": "differential"}, "holds a few states only"),
        ({"cell.bits": 6}, "mapping.bits 8 is more than the cell's 6"),
        ({"cell": {"kind": "ideal", "g_min": 1e-6}}, "counts codes from 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        mho.override(charges(), change)
