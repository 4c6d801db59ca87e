"""Line resistance as a part of the hardware: geometry, arrangement of pairs, what is refused."""

import copy
import math

import numpy as np
import pytest
import torch

import mho
from mho.circuits import Interconnect, Resistive
from mho.errors import SpecError
from mho.ops import lambda_max
from oracles import wires as oracle

FIXED = {"kind": "fixed", "value": 1.0}


@pytest.mark.parametrize(
    ("node", "resistivity", "row", "column"),
    [("9 nm", 5.083e-8, 9.242, 11.552), ("45 nm", 2.550e-8, 4.636, 5.796)],
)
def test_resistance_from_geometry(node, resistivity, row, column):
    wires = Interconnect(node=node)
    assert wires.resistivity == pytest.approx(resistivity, abs=0.0005e-8)
    assert wires.segments == pytest.approx((row, column), abs=0.0005)
    assert wires.lines[:4] == pytest.approx((row, column, row, column), abs=0.0005)


def test_resistivity_without_scattering_is_that_of_the_bulk():
    bulk = Interconnect(node=9e-9, specularity=1.0, reflection=0.0)
    assert bulk.resistivity == pytest.approx(1.9e-8, rel=1e-12)


def test_terminals_add_to_the_first_and_last_segment():
    wires = Resistive(row=2.0, column=3.0, driver=5.0, ground=7.0, drivers="both_ends")
    assert wires.lines == (2.0, 3.0, 7.0, 10.0, True)


@pytest.mark.parametrize("pair", ["interleaved", "apart"])
def test_arrangement_of_a_pair(pair):
    g = torch.rand(2, 3, 4, dtype=torch.float64)  # planes, columns, rows
    wires = Resistive(row=0.1, column=0.2, pair=pair, tolerance=0.0)
    found = wires.effective(g).numpy()
    if pair == "interleaved":  # G+ and G- of column 0, then of column 1, ...
        cells = np.stack([g[k % 2, k // 2].numpy() for k in range(6)], axis=1)
        whole = oracle.matrix(cells, 0.1, 0.2, 0.1, 0.2)
        expected = np.stack([whole[0::2], whole[1::2]])
    else:
        expected = np.stack([oracle.matrix(p.numpy().T, 0.1, 0.2, 0.1, 0.2) for p in g])
    assert found == pytest.approx(expected, abs=1e-13)
    load = np.full(6 if pair == "interleaved" else 3, 0.5)
    volts = wires.voltages(g, 0.5).numpy()
    if pair == "interleaved":
        whole = oracle.matrix(cells, 0.1, 0.2, 0.1, 0.2, load=load)
        expected = np.stack([whole[0::2], whole[1::2]])
    else:
        expected = np.stack([oracle.matrix(p.numpy().T, 0.1, 0.2, 0.1, 0.2, load=load) for p in g])
    assert volts == pytest.approx(expected, abs=1e-13)


def test_curved_cells_of_a_pair():
    g, x = torch.rand(2, 3, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    for pair in ("interleaved", "apart"):
        linear = Resistive(row=0.1, column=0.2, pair=pair, tolerance=0.0)
        curved = Resistive(row=0.1, column=0.2, pair=pair, cell_voltage=1e4, read_voltage=0.2)
        expected = torch.einsum("nk,pok->npo", x, linear.effective(g))
        torch.testing.assert_close(curved.currents(g, x), expected)


def hardware(array=None, dac=None, **wires):
    wires = {"kind": "resistive", "row": 30.0, "column": 30.0, **wires}
    array = {"rows": 11, "cols": 4, "wires": wires, **(array or {})}
    cell = {"kind": "ideal", "g_max": 1e-4}
    return mho.Hardware(array=array, cell=cell, dac={"range": FIXED, **(dac or {})})


def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(20, 6, bias=False, dtype=torch.float64)


def product(hw, x):
    model = layer()
    mho.convert(model, hw)
    return model(x)


def test_a_product_is_that_of_the_netlists_of_its_arrays():
    model = layer()
    x = torch.rand(3, 20, dtype=torch.float64)
    w = model.weight.detach().numpy()
    scale = np.stack([np.abs(w[:, part]).max(1) for part in (slice(0, 10), slice(10, 20))])
    expected = np.zeros((3, 6))
    for r, rows in enumerate((slice(0, 10), slice(10, 20))):
        for columns in (slice(0, 3), slice(3, 6)):
            relative = w[columns, rows] / scale[r, columns, None]
            pair = np.stack([np.maximum(relative, 0), np.maximum(-relative, 0)], axis=1) * 1e-4
            cells = pair.reshape(-1, relative.shape[1]).T
            whole = oracle.matrix(cells, 30.0, 30.0, 30.0, 30.0)
            currents = x[:, rows].numpy() @ whole.T
            difference = (currents[:, 0::2] - currents[:, 1::2]) / 1e-4
            expected[:, columns] += difference * scale[r, columns]
    found = product(hardware(tolerance=0.0), x)
    assert found.detach().numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_pulse_widths_are_amplitudes_where_cells_are_passive():
    x = torch.randn(5, 20, dtype=torch.float64)
    amplitude = product(hardware(dac={"bits": 5}), x)
    widths = product(hardware(dac={"bits": 5, "scheme": "pulse_width"}), x)
    torch.testing.assert_close(widths, amplitude)


def test_gated_pulse_widths_are_an_integral_over_time():
    steps, x = 7, torch.linspace(-1, 1, 20, dtype=torch.float64)[None]
    model = layer()
    hw = hardware(dac={"bits": 4, "scheme": "pulse_width"}, cells="gated", driver=9.0)
    codes = np.rint(x[0].numpy() * steps)
    w = model.weight.detach().numpy()
    expected = np.zeros(6)
    for rows in (slice(0, 10), slice(10, 20)):
        scale = np.abs(w[:, rows]).max(1)
        for j in range(6):
            relative = w[j, rows] / scale[j]
            for sign, device in ((1, np.maximum(relative, 0)), (-1, np.maximum(-relative, 0))):
                for time in range(steps):  # every step of the clock
                    for polarity in (1, -1):
                        opened = (polarity * codes[rows] > time).astype(float)
                        current = oracle.gated(device * 1e-4, opened, (30.0, 30.0), (39.0, 30.0))
                        expected[j] += sign * polarity * current / 1e-4 / steps * scale[j]
    mho.convert(model, hw)
    assert model(x)[0].detach().numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_gated_columns_need_no_wires_to_be_exact_without_them():
    x = torch.randn(5, 20, dtype=torch.float64)
    for scheme in ("pulse_width", {"kind": "bit_serial", "slice_bits": 1}):
        dac = {"bits": 6, "scheme": scheme}
        gated = product(hardware(dac=dac, cells="gated", row=0.0, column=0.0), x)
        plain = product(hardware(dac={"bits": 6}, array={"wires": None}), x)
        torch.testing.assert_close(gated, plain, rtol=1e-9, atol=1e-12)


def test_gradient_of_a_product_is_that_of_the_network():
    x = torch.randn(3, 20, dtype=torch.float64)
    mapping = {"kind": "differential", "scaling": "fixed", "w_max": 1.0}
    gated = hardware(dac={"bits": 3, "scheme": "pulse_width"}, cells="gated")
    for hw in (gated, hardware(), hardware(cell_voltage=0.2, read_voltage=0.3)):
        model = layer()
        mho.convert(model, hw.with_fields(mapping=mapping))
        weight = model.weight.detach().clone().requires_grad_()

        def loss(w, model=model):
            return torch.func.functional_call(model, {"weight": w}, x).square().sum()

        direction = torch.randn_like(weight)
        (slope,) = torch.autograd.grad(loss(weight), weight)
        step = 1e-6
        with torch.no_grad():
            ahead, behind = (loss(weight + s * direction) for s in (step, -step))
        finite = float(ahead - behind) / (2 * step)
        assert float((slope * direction).sum()) == pytest.approx(finite, rel=1e-6)


NETWORKS = {
    "passive": {},
    "gated": {"cells": "gated"},
    "curved": {"cell_voltage": 0.2, "read_voltage": 0.3},
}


def on_codes(kind):
    """Hardware with 15 input levels, and inputs that are on them in any precision."""
    dac = {"bits": 4, "scheme": "pulse_width"} if kind == "gated" else {"bits": 4}
    x = torch.randint(-7, 8, (9, 20), generator=torch.Generator().manual_seed(4)) / 7
    return hardware(dac=dac, **NETWORKS[kind]), x


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, "autocast"])
def test_networks_are_solved_in_single_precision_at_least(kind, dtype):
    """Weights, inputs and outputs are rounded, by at most eps / 2 each, and nothing else.

    That is 0.3 eps rms each, and half of eps together where terms do not cancel.
    """
    hw, x = on_codes(kind)
    whole = layer()
    low = torch.bfloat16 if dtype == "autocast" else dtype
    if dtype != "autocast":
        whole.weight.data = whole.weight.detach().to(low).double()
    model = copy.deepcopy(whole).float()
    mho.convert(whole, hw)
    mho.convert(model, hw)
    expected = whole(x.double()).detach()
    if dtype == "autocast":
        with torch.autocast("cpu", low):
            y = model(x)
    else:
        y = model.to(low)(x.to(low))
    error = y.detach().double() - expected
    assert error.norm() < torch.finfo(low).eps * expected.norm()


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_in_a_graph_on_meta_and_of_no_vector(kind):
    hw, x = on_codes(kind)
    model = layer().float()
    mho.convert(model, hw)
    y = model(x)
    exported = torch.export.export(model, (x,))
    torch.testing.assert_close(exported.module()(x), y)
    empty = model(x[:0])
    assert empty.shape == (0, 6)
    empty.sum().backward()
    assert not model.weight.grad.any()
    assert model.to("meta")(x.to("meta")).shape == y.shape


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"row": -1.0}, "greater than or equal to 0"),
        ({"column": math.inf}, "finite"),
        ({"driver": "3 V"}, "is not in ohm"),
        ({"cells": "gated", "drivers": "both_ends"}, "source line beside each column"),
        ({"cells": "gated", "pair": "apart"}, "source line beside each column"),
        ({"merged_rows": 4}, "merged_rows is about gated cells"),
        ({"cell_voltage": 0.1}, "give both or neither"),
        ({"cell_voltage": 0.001, "read_voltage": 0.2}, "beyond 30 times"),
        ({"cells": "gated", "cell_voltage": 0.1, "read_voltage": 0.1}, "passive cells"),
    ],
)
def test_impossible_wires(fields, text):
    with pytest.raises(SpecError, match=text):
        Resistive(**fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"dac": {"bits": 4}, "cells": "gated"}, "open or not"),
        (
            {"dac": {"bits": 4, "scheme": "pulse_width", "gain_spread": 0.1}, "cells": "gated"},
            "spreads of row drivers",
        ),
        (
            {"dac": {"bits": 4, "scheme": "pulse_width", "asymmetry": 0.1}, "cells": "gated"},
            "asymmetry or noise",
        ),
        (
            {"array": {"combine": {"kind": "voltage_mean", "load": 1e-3}},
             "dac": {"bits": 4, "scheme": "pulse_width"}, "cells": "gated"},
            "passive cells",
        ),
        ({"dac": {"scheme": "pulse_width"}}, "needs bits or steps"),
        ({"dac": {"bits": 4, "scheme": "pulse_width", "offset_spread": 0.1}}, "have no offset"),
        ({"dac": {"range": None}, "cell_voltage": 0.1, "read_voltage": 0.1}, "dac.range"),
    ],
)  # fmt: skip
def test_impossible_hardware(fields, text):
    with pytest.raises(SpecError, match=text):
        hardware(**fields)


@pytest.mark.parametrize("curved", [{}, {"cell_voltage": 0.2, "read_voltage": 0.3}])
def test_a_cell_of_both_signs_stands_for_a_pair(curved):
    x = torch.randn(5, 20, dtype=torch.float64)
    pair = hardware(**curved)
    cell = {"kind": "composed", "g_max": 1e-4, "signed": True}
    signed = pair.with_fields(cell=cell, mapping="signed")
    torch.testing.assert_close(product(signed, x), product(pair, x))


def test_diagnosis_is_that_of_an_array_of_equal_cells():
    for fields in (
        {},
        {"pair": "apart"},
        {"drivers": "both_ends"},
        {"driver": 50.0, "ground": 7.0},
    ):
        wires = Resistive(row=3.0, column=2.0, **fields)
        g = torch.full((2, 5, 9), 1e-4, dtype=torch.float64)
        arrays = g if wires.pair == "apart" else g.transpose(0, 1).flatten(0, 1)
        whole = float(lambda_max(arrays, wires.lines).max())
        assert wires.diagnosis(2, 5, 9, 1e-4)[0] == pytest.approx(whole, rel=1e-5)


def test_explain_says_how_much_wires_matter_and_how_they_are_solved():
    text = mho.explain(hardware())
    assert "lambda_max" in text
    assert "exact sweep" in " ".join(text.replace("│", " ").split())
    gated = mho.explain(hardware(dac={"bits": 2, "scheme": "pulse_width"}, cells="gated"))
    assert "one ladder per column" in " ".join(gated.replace("│", " ").split())
    small = mho.explain(hardware(row=1e-6, column=1e-6))
    assert "first order" in " ".join(small.replace("│", " ").split())
    assert "lambda_max" not in mho.explain(hardware(array={"rows": None}))
