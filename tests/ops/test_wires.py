"""Networks of wires and cells: published currents, closed forms, laws, and a literal netlist."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.errors import DataError, RangeError
from mho.ops import (
    Lines,
    gated_currents,
    lambda_max,
    vector_currents,
    wire_currents,
    wire_voltages,
)
from mho.ops._wire_cells import cell_voltages
from mho.ops._wire_diagnostic import drop_bound, first_order
from mho.ops._wire_vectors import node_voltages
from oracles import wires as oracle

# The example in the README of badcrossbar: resistances of 3 rows and 5 columns, three inputs.
OHMS = np.array([[345, 903, 755, 257, 646], [652, 401, 508, 166, 454], [442, 874, 190, 244, 635]])
HALF_OHM = Lines(0.5, 0.5, 0.5, 0.5)

resistance = st.sampled_from([0.0, 1e-3, 0.3, 2.0])
lines_drawn = st.builds(Lines, resistance, resistance, resistance, resistance, st.booleans())


@st.composite
def arrays(draw, smallest=0.0):
    """Conductances (columns, rows), some of them zero."""
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    g = rng.uniform(0.1, 1, shape) * (rng.random(shape) < 0.8)
    return torch.from_numpy(np.maximum(g, smallest))


def test_published_currents():
    g = torch.from_numpy(1 / OHMS.T)
    currents = wire_currents(g, HALF_OHM) @ torch.tensor([1.5, 2.3, 1.7], dtype=g.dtype)
    published = [0.01158503, 0.00919064, 0.01511568, 0.02583321, 0.00981179]
    assert currents.numpy() == pytest.approx(published, abs=6e-9)  # as many digits as given
    third = torch.tensor([[[2.6, 1.1, 3.3]]], dtype=g.dtype)
    across = cell_voltages(g[None], third, HALF_OHM)
    assert float(across[0, 0, 3, 0] * g[3, 0]) == pytest.approx(0.0098561978, abs=6e-11)


@given(arrays(), lines_drawn)
@settings(max_examples=40, deadline=None)
def test_matrix_is_that_of_the_netlist(g, lines):
    expected = oracle.matrix(g.numpy().T, *lines[:4], both_ends=lines.both_ends)
    assert wire_currents(g, lines).numpy() == pytest.approx(expected, abs=1e-12)


@given(arrays(smallest=1e-3), lines_drawn, st.sampled_from([0.0, 0.4, 3.0]))
@settings(max_examples=40, deadline=None)
def test_loaded_columns_are_those_of_the_netlist(g, lines, load):
    loads = np.full(g.shape[0], load)
    expected = oracle.matrix(g.numpy().T, *lines[:4], both_ends=lines.both_ends, load=loads)
    found = wire_voltages(g, torch.tensor(load, dtype=g.dtype), lines)
    assert found.numpy() == pytest.approx(expected, abs=1e-12)


@given(arrays(), lines_drawn, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_kirchhoff_energy_and_passivity(g, lines, seed):
    rng = np.random.default_rng(seed)
    v = torch.from_numpy(rng.uniform(-1, 1, (1, 1, g.shape[1])))
    u, w, _ = (t[0, 0] if torch.is_tensor(t) else t for t in node_voltages(g[None], lines, v))
    cells, volts = g * (u - w), v[0, 0]
    feet = wire_currents(g, lines) @ volts
    assert cells.sum(1).numpy() == pytest.approx(feet.numpy(), abs=1e-10)  # as currents at the feet
    # Along a line the current changes by what its cells take, and a segment has the drop R I.
    down = cells.cumsum(1)
    assert (w[:, :-1] - w[:, 1:]).numpy() == pytest.approx(
        (lines.column * down[:, :-1]).numpy(), abs=1e-10
    )
    assert w[:, -1].numpy() == pytest.approx((lines.sink * down[:, -1]).numpy(), abs=1e-10)
    if lines.both_ends:
        return  # the share of each driver is not known from the cells alone
    on = cells.flip(0).cumsum(0).flip(0)
    assert (u[:-1] - u[1:]).numpy() == pytest.approx((lines.row * on[1:]).numpy(), abs=1e-10)
    heat = (
        (g * (u - w) ** 2).sum()
        + lines.row * (on[1:] ** 2).sum()
        + lines.source * (on[0] ** 2).sum()
    )
    heat = heat + lines.column * (down[:, :-1] ** 2).sum() + lines.sink * (down[:, -1] ** 2).sum()
    assert float(heat) == pytest.approx(float((volts * on[0]).sum()), abs=1e-9)
    # Passive: no node is beyond the voltages of drivers and ground.
    low, high = min(0.0, float(volts.min())), max(0.0, float(volts.max()))
    for node in (u, w):
        assert float(node.min()) >= low - 1e-10
        assert float(node.max()) <= high + 1e-10


@given(arrays(), lines_drawn)
@settings(max_examples=30, deadline=None)
def test_reciprocity(g, lines):
    lines = lines._replace(both_ends=False)
    turned = Lines(lines.column, lines.row, lines.sink, lines.source)
    back = wire_currents(g.T.flip(0, 1), turned).flip(0, 1).T
    assert back.numpy() == pytest.approx(wire_currents(g, lines).numpy(), abs=1e-12)


def test_uniform_column_is_a_hyperbolic_cosine():
    n, g, r = 9, 0.4, 0.3
    angle = math.acosh(1 + r * g / 2)  # of the difference equation of a uniform ladder
    place = np.arange(n, 0, -1)  # segments from the foot
    closed = g * np.cosh((n - place + 0.5) * angle) / math.cosh((n + 0.5) * angle)
    found = wire_currents(torch.full((1, n), g, dtype=torch.float64), Lines(column=r, sink=r))
    assert found[0].numpy() == pytest.approx(closed, rel=1e-13)


def test_single_row_of_two_cells():
    g, (row, source, sink) = np.array([0.5, 0.8]), (0.3, 0.2, 0.1)
    far = 1 / (row + 1 / g[1] + sink)
    near = 1 / (1 / g[0] + sink)
    node = 1 / (1 + source * (near + far))
    lines = Lines(row, 7.0, source, sink)
    found = wire_currents(torch.from_numpy(g)[:, None], lines)[:, 0]
    assert found.numpy() == pytest.approx([near * node, far * node], rel=1e-14)


def test_scale_of_resistances_does_not_matter():
    g, lines = torch.rand(4, 6, dtype=torch.float64), Lines(0.1, 0.2, 0.3, 0.4)
    scaled = Lines(*(r * 1e4 for r in lines[:4]))
    torch.testing.assert_close(wire_currents(g / 1e4, scaled) * 1e4, wire_currents(g, lines))


def test_no_resistance_is_the_ideal_array():
    g = torch.rand(4, 6, dtype=torch.float64)
    assert wire_currents(g, Lines()) is g
    nearly = wire_currents(g, Lines(1e-12, 1e-12, 1e-12, 1e-12))
    assert nearly.numpy() == pytest.approx(g.numpy(), abs=1e-9)
    load = torch.tensor(0.7, dtype=g.dtype)
    mean = g / (g.sum(1, keepdim=True) + load)
    torch.testing.assert_close(wire_voltages(g, load, Lines()), mean)


def _sparse(g, lines):
    """Currents per volt by SciPy's sparse LU, (columns, rows)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    rows, columns = g.shape
    u = np.arange(rows * columns).reshape(rows, columns)
    w = u + u.size
    pairs = [(u, w, g), (u[:, :-1], u[:, 1:], 1 / lines.row), (w[:-1], w[1:], 1 / lines.column)]
    at, to, value = [], [], []
    for a, b, siemens in pairs:
        siemens = np.broadcast_to(siemens, a.shape).ravel()
        a, b = a.ravel(), b.ravel()
        at += [a, b, a, b]
        to += [a, b, b, a]
        value += [siemens, siemens, -siemens, -siemens]
    at += [u[:, 0], w[-1]]
    to += [u[:, 0], w[-1]]
    value += [np.full(rows, 1 / lines.source), np.full(columns, 1 / lines.sink)]
    entries = (np.concatenate(value), (np.concatenate(at), np.concatenate(to)))
    right = np.zeros((2 * u.size, rows))
    right[u[:, 0], np.arange(rows)] = 1 / lines.source
    volts = splu(coo_matrix(entries).tocsc()).solve(right)
    return volts[w[-1]] / lines.sink


@pytest.mark.parametrize("shape", [(48, 48), (24, 40), (40, 24)])
@pytest.mark.parametrize("resistance", [1e-4, 1e-2])
def test_single_precision_against_a_sparse_solution(shape, resistance):
    g = np.random.default_rng(1).random(shape)
    lines = Lines(resistance, resistance, resistance, resistance)
    expected = _sparse(g, lines)
    found = wire_currents(torch.from_numpy(g.T).float().contiguous(), lines).double().numpy()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


BOTH = Lines(0.3, 0.2, 0.5, 0.4, both_ends=True)
CASES = [
    BOTH._replace(both_ends=False), BOTH, BOTH._replace(row=0.0, source=0.0),
    BOTH._replace(column=0.0, sink=0.0, both_ends=False), BOTH._replace(source=0.0),
]  # fmt: skip


@pytest.mark.parametrize("lines", CASES)
@pytest.mark.parametrize("shape", [(2, 4), (3, 2)])
def test_gradients(lines, shape):
    torch.manual_seed(0)
    g = torch.rand(2, *shape, dtype=torch.float64, requires_grad=True)
    load = torch.tensor(0.7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda g: wire_currents(g, lines), g)
    assert torch.autograd.gradcheck(lambda g: wire_voltages(g, load, lines), g)
    g = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    v = torch.randn(1, 2, shape[1], dtype=torch.float64, requires_grad=True)
    for cell_voltage in (None, 0.7):
        assert torch.autograd.gradcheck(
            lambda g, v, curved=cell_voltage: vector_currents(g, v, lines, curved),
            (g, v),
            fast_mode=True,
        )


def test_gradient_of_the_first_order():
    g = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    lines = Lines(1e-3, 1e-3, 1e-3, 1e-3)
    assert torch.autograd.gradcheck(lambda g: wire_currents(g, lines, tolerance=0.1), g)


def test_iterations_agree_with_the_matrix():
    torch.manual_seed(2)
    for lines in (*CASES, CASES[0]._replace(row=50.0)):
        g, v = torch.rand(2, 5, 7, dtype=torch.float64), torch.randn(2, 3, 7, dtype=torch.float64)
        expected = torch.einsum("acr,anr->anc", wire_currents(g, lines), v)
        torch.testing.assert_close(vector_currents(g, v, lines), expected)


def test_few_iterations_at_strong_wires():
    g, v = torch.rand(1, 64, 64), torch.rand(1, 2, 64)
    solved = node_voltages(g, Lines(3e-3, 3e-3, 3e-3, 3e-3), v, tolerance=1e-6)
    assert solved.steps <= 9  # lambda_max is 5; the plain alternation needs tens


def test_curved_cells_obey_their_law():
    torch.manual_seed(3)
    g, v = torch.rand(1, 3, 4, dtype=torch.float64), torch.randn(1, 5, 4, dtype=torch.float64)
    straight = vector_currents(g, v, CASES[0], cell_voltage=1e5)
    torch.testing.assert_close(straight, vector_currents(g, v, CASES[0]), rtol=1e-8, atol=1e-10)
    ideal = vector_currents(g, v, Lines(), cell_voltage=0.5)
    closed = torch.einsum("acr,anr->anc", g, 0.5 * torch.sinh(v / 0.5))
    torch.testing.assert_close(ideal, closed)
    across = cell_voltages(g, v, CASES[0], 0.5)
    carried = 0.5 * g[:, None] * torch.sinh(across / 0.5)  # and Kirchhoff's law with it
    lines = CASES[0]
    drops = lines.source * carried.sum(2, keepdim=True) + lines.sink * carried.sum(3, keepdim=True)
    on, down = carried.flip(2).cumsum(2).flip(2), carried.cumsum(3)
    drops[:, :, 1:] += lines.row * on[:, :, 1:].cumsum(2)
    drops[..., :-1] += lines.column * down[..., :-1].flip(3).cumsum(3).flip(3)
    torch.testing.assert_close(across + drops, v[:, :, None].expand_as(across), rtol=0, atol=1e-9)


def test_lambda_max_of_uniform_cells():
    m, n, g, row, column = 6, 11, 0.3, 0.02, 0.05
    lines = Lines(row, column, row, column)
    closed = g * (
        row / (4 * math.sin(math.pi / (4 * m + 2)) ** 2)
        + column / (4 * math.sin(math.pi / (4 * n + 2)) ** 2)
    )
    uniform = torch.full((m, n), g, dtype=torch.float64)
    assert float(lambda_max(uniform, lines)) == pytest.approx(closed, rel=1e-5)
    assert float(drop_bound(uniform, lines)) >= closed


def test_first_order_is_off_by_the_square_of_the_drop():
    g = torch.rand(8, 6, dtype=torch.float64)
    for both_ends in (False, True):
        for r in (1e-3, 1e-4):
            lines = Lines(r, 2 * r, 3 * r, r, both_ends)
            exact, bound = wire_currents(g, lines), float(drop_bound(g, lines))
            error = float(((first_order(g, lines) - exact).abs().sum(1) / exact.sum(1)).max())
            assert error <= bound**2 / (1 - bound)
            assert error > 1e-3 * bound**2  # of that order


@pytest.mark.parametrize("lines", [(0.3, 0.2, 0.4, 0.1), (0.0, 0.2, 0.0, 0.3)])
def test_gated_columns_are_those_of_the_netlist(lines):
    rng = np.random.default_rng(4)
    g, opened = rng.random((3, 6)), (rng.random((4, 6)) < 0.6).astype(float)
    source, column, driver, ground = lines
    found = gated_currents(
        torch.from_numpy(g), torch.from_numpy(opened), source + column, driver + ground
    )
    for n, j in np.ndindex(4, 3):
        terminal = (driver + source, ground + column)
        expected = oracle.gated(g[j], opened[n], (source, column), terminal)
        assert float(found[n, j]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("merged", [1, 2, 4])
def test_gradient_of_gated_columns(merged):
    torch.manual_seed(5)
    g = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    opened = torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda g, opened: gated_currents(g, opened, 0.3, 0.2, merged), (g, opened)
    )


def test_merged_cells_are_near_the_exact_ladder():
    torch.manual_seed(6)
    g, opened = torch.rand(4, 64, dtype=torch.float64), torch.ones(1, 64, dtype=torch.float64)
    exact = gated_currents(g, opened, 1e-4, 0.0)
    errors = [
        float((gated_currents(g, opened, 1e-4, 0.0, m) / exact - 1).abs().max()) for m in (8, 2)
    ]
    drop = float((1 - exact / g.sum(1)).max())
    assert errors[1] < errors[0] < 0.05 * drop


def test_empty_lines_are_no_fault():
    g = torch.rand(3, 4, dtype=torch.float64)
    g[1], g[:, 2] = 0, 0
    found = wire_currents(g, CASES[0])
    assert not found[1].any()
    assert not found[:, 2].any()
    with pytest.raises(DataError, match="no cells and no load"):
        wire_voltages(g, torch.tensor(0.0), CASES[0])
    assert torch.isfinite(wire_voltages(g, torch.tensor(0.1), CASES[0])).all()


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_impossible_resistances(value):
    with pytest.raises(RangeError, match="must be finite and at least 0"):
        wire_currents(torch.rand(2, 2), Lines(column=value))


@pytest.mark.parametrize("value", [-1e-6, math.inf, math.nan])
def test_impossible_conductances(value):
    g = torch.rand(2, 2)
    g[1, 0] = value
    with pytest.raises(DataError, match="finite and not negative"):
        wire_currents(g, HALF_OHM)


@pytest.mark.parametrize("value", [-1e-6, math.nan])
def test_no_other_network_takes_them_either(value):
    g = torch.rand(2, 3)
    g[1, 0] = value
    with pytest.raises(DataError, match="finite and not negative"):
        gated_currents(g, torch.ones(1, 3), 0.5, 0.5)
    with pytest.raises(DataError, match="finite and not negative"):
        vector_currents(g[None], torch.ones(1, 1, 3), HALF_OHM, 0.5)


def test_an_array_beyond_reach():
    with pytest.raises(RangeError, match="limit the array"):
        wire_currents(torch.ones(1, 1).expand(3000, 3000), HALF_OHM)
    # With two drivers the many columns are swept along, and no longer the few rows.
    with pytest.raises(RangeError, match="limit the array"):
        wire_currents(torch.ones(1, 1).expand(60_000, 10), HALF_OHM._replace(both_ends=True))


def test_half_precision_is_solved_in_single():
    g = torch.rand(3, 4)
    found = wire_currents(g.bfloat16(), HALF_OHM)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), wire_currents(g.bfloat16().float(), HALF_OHM), rtol=4e-3, atol=0
    )
