"""Stuck cells and device variability: fractions, maps, positions, what is refused."""

import math

import numpy as np
import pytest
import torch

from mho.cells import Afm, Composed, Faults, Ideal, Pcm, Sites, Variability
from mho.errors import DataError, SpecError
from mho.ops import Stream

N = 1_000_000
G_MAX = 25e-6


def within(count, n, p):
    """Whether a count lies within 5 standard errors of a binomial."""
    return abs(int(count) - n * p) <= 5 * math.sqrt(n * p * (1 - p))


def test_fractions_are_binomial():
    cell = Composed(g_min=1e-6, g_max=G_MAX, faults=Faults(at_zero=0.01, at_max=0.002, random=0.03))
    stream = Stream(1, "f")
    half = torch.full((N,), G_MAX / 2)
    g = cell.conductance(cell.program(half, stream), 0.0, stream)
    zero, top, works = (g == np.float32(v) for v in (1e-6, G_MAX, G_MAX / 2))
    other = ~(zero | top | works)
    for mask, p in ((zero, 0.01), (top, 0.002), (other, 0.03), (works, 0.958)):
        assert within(mask.sum(), N, p)
    value = (g[other].double() - 1e-6) / (G_MAX - 1e-6)  # uniform: mean 1/2, variance 1/12
    assert value.min() >= 0
    assert value.max() <= 1
    assert abs(float(value.mean()) - 0.5) < 5 * math.sqrt(1 / 12 / len(value))


def test_all_cells_may_be_stuck():
    cell = Ideal(faults=Faults(at_max=1.0))
    stream = Stream(1, "f")
    g = cell.conductance(cell.program(torch.zeros(2, 3, 4), stream), 0.0, stream)
    assert (g == np.float32(G_MAX)).all()


def test_stuck_cells_stay_stuck():
    cell = Pcm(
        faults=Faults(at_zero=0.1, at_max=0.1, random=0.1), variability=Variability(gain=0.1)
    )
    stream = Stream(2, "f")
    shape = (2, 100, 100)
    state = cell.program(torch.full(shape, 10e-6), stream)
    early, late = cell.conductance(state, 0.0, stream), cell.conductance(state, 1e6, stream)
    same = early == late
    assert within(same.sum(), same.numel(), 0.3)
    for low_or_high in (0.0, G_MAX):
        assert within((late == np.float32(low_or_high)).sum(), same.numel(), 0.1)


def test_signed_cells_are_stuck_with_either_sign():
    cell = Afm(faults=Faults(at_max=0.5, random=0.5))
    stream = Stream(3, "f")
    g = cell.conductance(cell.program(torch.zeros(N), stream), 0.0, stream)
    assert within((g == np.float32(G_MAX)).sum(), N, 0.25)
    assert within((g == -np.float32(G_MAX)).sum(), N, 0.25)
    assert within((g > 0).sum(), N, 0.5)


CODES = np.array([[0, 1, 2], [3, 0, 0]])  # two rows (inputs), three columns (outputs)
SITES = Sites(row=torch.arange(2), column=torch.arange(3))


@pytest.fixture(params=["csv", "npy"])
def map_file(request, tmp_path):
    file = tmp_path / f"map.{request.param}"
    np.savetxt(file, CODES, fmt="%d", delimiter=",") if request.param == "csv" else np.save(
        file, CODES
    )
    return str(file)


def test_map_is_addressed_by_row_and_column(map_file):
    cell = Ideal(faults=Faults(map=map_file))
    stream = Stream(1, "m")
    state = cell.program(torch.full((2, 3, 2), G_MAX / 2), stream)  # planes, columns, rows
    g = cell.conductance(state, 0.0, stream, SITES)
    for plane in g:
        for row in range(2):
            for column in range(3):
                code, value = CODES[row, column], float(plane[column, row])
                expected = {0: G_MAX / 2, 1: 0.0, 2: G_MAX}.get(int(code))
                if expected is None:
                    assert 0 <= value <= G_MAX
                    assert value != pytest.approx(G_MAX / 2)
                else:
                    assert value == np.float32(expected)


def test_map_follows_the_sites(map_file):
    """Another placement of the same weights meets other cells of the map."""
    cell = Ideal(faults=Faults(map=map_file))
    stream = Stream(1, "m")
    state = cell.program(torch.full((1, 1, 2), G_MAX / 2), stream)
    sites = Sites(row=torch.tensor([0, 0]), column=torch.tensor([2]))
    assert (cell.conductance(state, 0.0, stream, sites) == np.float32(G_MAX)).all()


def test_map_of_planes(tmp_path):
    file = tmp_path / "planes.npy"
    np.save(file, np.stack([CODES, np.zeros_like(CODES)]))
    cell = Ideal(faults=Faults(map=str(file)))
    stream = Stream(1, "m")
    g = cell.conductance(cell.program(torch.full((2, 3, 2), 1e-6), stream), 0.0, stream, SITES)
    assert int((g[0] != np.float32(1e-6)).sum()) == 3
    assert (g[1] == np.float32(1e-6)).all()


def test_map_wins_over_the_draw_and_both_act(map_file):
    cell = Ideal(faults=Faults(map=map_file, at_max=1.0))
    stream = Stream(1, "m")
    g = cell.conductance(cell.program(torch.zeros(1, 3, 2), stream), 0.0, stream, SITES)
    assert g[0, 1, 0] == 0
    assert (g[0, 0, 0], g[0, 2, 0], g[0, 1, 1]) == (np.float32(G_MAX),) * 3


def test_changed_map_is_read_again(tmp_path):
    file = tmp_path / "map.npy"
    cell, stream = Ideal(faults=Faults(map=str(file))), Stream(1, "m")
    state = cell.program(torch.full((1, 3, 2), 1e-6), stream)
    np.save(file, np.zeros((2, 3)))
    assert (cell.conductance(state, 0.0, stream, SITES) != 0).all()
    np.save(file, np.ones((2, 3)))
    import os

    os.utime(file, (0, 0))  # a clock too coarse to tell two writes apart is not the point here
    assert (cell.conductance(state, 0.0, stream, SITES) == 0).all()


@pytest.mark.parametrize(
    ("codes", "sites", "shape", "match"),
    [
        (CODES, None, (1, 3, 2), "needs the cells' positions"),
        (CODES, SITES, (1, 2, 3), r"are not \(planes, out, in\) = \(planes, 3, 2\)"),
        (CODES, SITES, (3, 2), r"are not \(planes, out, in\)"),
        (
            CODES,
            Sites(torch.tensor([0, 5]), torch.arange(3)),
            (1, 3, 2),
            "rows 0 to 1; the cells use row 5",
        ),
        (CODES, Sites(torch.tensor([0, -1]), torch.arange(3)), (1, 3, 2), "rows 0 to 1"),
        (CODES, Sites(torch.arange(2), torch.arange(3) + 1), (1, 3, 2), "the cells use column 3"),
        (np.stack([CODES] * 3), SITES, (2, 3, 2), "3 planes; the cells have 2"),
        (CODES + 2, SITES, (1, 3, 2), "expected codes 0, 1, 2 or 3"),
        (CODES / 2, SITES, (1, 3, 2), "expected codes 0, 1, 2 or 3"),
        (CODES[0], SITES, (1, 3, 2), "expected codes"),
        (np.empty((0, 3)), SITES, (1, 3, 2), "expected codes"),
    ],
)
def test_bad_maps(tmp_path, codes, sites, shape, match):
    file = tmp_path / "map.npy"
    np.save(file, codes)
    cell, stream = Ideal(faults=Faults(map=str(file))), Stream(1, "m")
    state = cell.program(torch.zeros(shape), stream)
    with pytest.raises(DataError, match=match):
        cell.conductance(state, 0.0, stream, sites)


@pytest.mark.parametrize("name", ["missing.csv", "missing.npy", "text.csv"])
def test_unreadable_maps(tmp_path, name):
    (tmp_path / "text.csv").write_text("a,b\n")
    cell, stream = Ideal(faults=Faults(map=str(tmp_path / name))), Stream(1, "m")
    state = cell.program(torch.zeros(1, 3, 2), stream)
    with pytest.raises(DataError, match="cannot read the fault map"):
        cell.conductance(state, 0.0, stream, SITES)


@pytest.mark.parametrize(
    "fields", [{"at_zero": -0.1}, {"at_max": 1.1}, {"at_zero": 0.5, "at_max": 0.3, "random": 0.3}]
)
def test_bad_fractions(fields):
    with pytest.raises(SpecError):
        Faults(**fields)


def test_gain_spreads_cells_once_for_life():
    cell, stream = Ideal(variability=Variability(gain=0.05)), Stream(4, "v")
    state = cell.program(torch.full((N,), 10e-6), stream)
    g = cell.conductance(state, 0.0, stream)
    relative = g.double() / 10e-6
    assert abs(float(relative.mean()) - 1) < 5 * 0.05 / math.sqrt(N)
    assert abs(float(relative.std()) - 0.05) < 5 * 0.05 / math.sqrt(2 * N)
    assert torch.equal(cell.conductance(state, 1e6, stream), g)


def test_gain_is_never_negative():
    cell, stream = Ideal(variability=Variability(gain=1.0)), Stream(5, "v")
    g = cell.conductance(cell.program(torch.full((10_000,), 10e-6), stream), 0.0, stream)
    assert (g >= 0).all()
    assert (g == 0).any()
