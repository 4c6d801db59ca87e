"""Optimized tables of conductances: closed-form optima, invertibility, and other chips."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mho
from mho.ops import Stream
from mho.studies._mapping_search import errors
from mho.studies._mapping_tables import Cube

W = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
FAST = {"bins": 3, "samples": 200, "population": 6, "generations": 40, "instances": 4}


def cell(*coefficients, **laws):
    """A cell whose programming error is a polynomial in r, in units of g_max."""
    std = {"kind": "polynomial", "coefficients": coefficients}
    programming = {"kind": "gaussian", "std": std, "full_scale": 1.0}
    return mho.Composed(g_max=25e-6, programming=programming, **laws)


def relative(w):
    """Quantiles of weights over the largest of their column, as the search takes them."""
    values = (w / w.abs().amax(1, keepdim=True)).flatten().numpy()
    return np.quantile(values, np.linspace(0, 1, FAST["samples"]))


@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(2, 7), st.integers(0, 2**31))
def test_every_point_of_the_cube_is_an_invertible_symmetric_table(pairs, bins, seed):
    """`Table` itself refuses what is not; decode(encode(w)) is w, and G+ and G- change places."""
    cube = Cube(pairs, bins, "column")
    rng = np.random.default_rng(seed)
    point = rng.random(cube.dimensions).round(rng.integers(0, 3))
    table = cube.table(point)
    w = torch.linspace(-1, 1, 101)[None, :]
    g = table.encode(w, 0.0, 25e-6)
    torch.testing.assert_close(table.decode(g, 0.0, 25e-6)[0], w, rtol=0, atol=2e-6 / 0.05)
    assert g.min() >= 0
    assert g.max() <= 25e-6 * (1 + 1e-6)
    torch.testing.assert_close(g[0::2].flip(-1), g[1::2], rtol=1e-5, atol=1e-11)


def test_the_search_starts_at_plain_pairs():
    table = Cube(1, 6, "column").table(Cube(1, 6, "column").plain())
    w = torch.linspace(-1, 1, 21)[None, :]
    ours = table.encode(w, 0.0, 1.0)
    plain = mho.Hardware(mapping="differential").mapping.encode(w, 0.0, 1.0)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-6)
    two = Cube(2, 5, "column")
    pairs = mho.Hardware(mapping="pairs").mapping.encode(w, 0.0, 1.0)
    ours = two.table(two.plain())
    torch.testing.assert_close(ours.encode(w, 0.0, 1.0), pairs, rtol=0, atol=1e-6)
    assert sorted(map(abs, ours.factors)) == pytest.approx([1.0] * 4)


def test_an_error_that_grows_with_the_square_wants_small_conductances():
    """std = s r^2 of one device: the error of w is s k w^2, least at the least slope, 5 %."""
    result = mho.optimize_mapping(cell(0.0, 0.0, 0.2), W, times=["1 s"], **FAST)
    w = relative(W)
    least = 0.05 * 0.2 * math.sqrt((w**4).mean() / (w**2).mean())
    assert result.slope < 0.08
    assert result.baseline_errors.mean() == pytest.approx(least / 0.05, rel=0.1)
    assert result.errors.mean() < 2 * least
    assert result.gain.min() > 0.9


def test_a_constant_error_wants_all_of_the_range():
    """Any table has the same noise, so the largest signal is best: the baseline, and no worse."""
    result = mho.optimize_mapping(cell(0.02), W, times=["1 s"], **FAST)
    assert result.slope > 0.95
    assert result.gain.mean() > -0.01


@pytest.mark.slow
def test_two_pairs_share_a_convex_error():
    """std = s r^2 + c: full pairs one after another are worse than both half full."""
    result = mho.optimize_mapping(cell(0.004, 0.0, 0.1), W, pairs=2, times=["1 s"], **FAST)
    w = relative(W)

    def variance(d):
        return 2 * 0.004**2 / 2 + 0.1**2 * d**4 + 2 * 0.004 * 0.1 * d**2

    both = math.sqrt(2 * variance(np.abs(w)).mean() / 4 / (w**2).mean())
    assert result.gain.mean() > 0.2
    assert result.errors.mean() < 1.1 * both


def test_the_error_over_time_is_that_of_the_law():
    """One drift exponent for all: compensation undoes it, without it 1 - factor is lost."""
    drift = {"kind": "power_law", "t0": "20 s", "nu_mean": {"kind": "constant", "value": 0.05}}
    drift["nu_std"] = {"kind": "constant", "value": 0.0}
    found = mho.Composed(g_max=25e-6, drift=drift)
    times = [1.0, 86400.0]
    w = torch.from_numpy(relative(W)).float()
    mapping, stream = mho.Hardware().mapping, Stream(1, "mapping")
    assert max(errors(mapping, found, w, times, "global", stream)) < 1e-5
    lost = [1 - (1 + t / 20) ** -0.05 for t in times]
    assert errors(mapping, found, w, times, "none", stream) == pytest.approx(lost, rel=1e-4)


def test_it_goes_into_a_hardware_prints_and_plots(tmp_path):
    few = {**FAST, "generations": 2}
    result = mho.optimize_mapping("pcm-joshi-2020", [W, W[:5]], scaling="tile", **few)
    hardware = mho.load("pcm-joshi-2020").with_fields(mapping=result.mapping)
    assert hardware.mapping.scaling == "tile"
    assert mho.Hardware(**mho.document("pcm-joshi-2020").fields | {"mapping": result.mapping})
    layer = torch.nn.Linear(50, 40)
    mho.convert(layer, hardware)
    mho.program(layer, seed=1)
    text = str(result)
    for part in ("optimized mapping", "1 h", "4 other chips", "of the range is used"):
        assert part in text
    assert result.errors.shape == (4, 5)
    left, _ = result.plot().axes
    assert len(left.lines) == 2
    assert result.plot(tmp_path / "mapping.png").stat().st_size > 1000


def test_a_search_is_a_function_of_its_seed():
    few = {**FAST, "generations": 3, "times": ["1 h"]}
    first, second, other = (
        mho.optimize_mapping("pcm-joshi-2020", W, seed=seed, **few) for seed in (0, 0, 1)
    )
    assert first.mapping == second.mapping
    assert np.array_equal(first.errors, second.errors)
    assert not np.array_equal(first.errors, other.errors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": 0}, "pairs must be a whole number of at least 1"),
        ({"bins": 1}, "bins must be a whole number of at least 2"),
        ({"population": 2}, "at least 5"),
        ({"times": []}, "at least one time"),
        ({"times": ["soon"]}, "cannot read"),
        ({"compensation": "column"}, "use global or none"),
        ({"scaling": "fixed"}, "use column or tile"),
        ({"weights": []}, "no weights"),
        ({"weights": torch.zeros(3, 4)}, "no weights other than 0"),
        ({"weights": torch.full((3, 4), float("inf"))}, "no finite matrix"),
        ({"weights": torch.tensor(1.0)}, "no finite matrix"),
        ({"weights": [W, torch.ones(40)]}, r"shape \(40,\) are no finite matrix"),
        ({"weights": torch.zeros(0, 4)}, "no finite matrix"),
        ({"cell": "afm-2025"}, "signed conductance stands for a whole pair"),
        ({"cell": "pcm-joshi"}, "pcm-joshi"),
    ],
)
def test_bad_input(arguments, message):
    given = {"cell": "pcm-joshi-2020", "weights": W, **arguments}
    with pytest.raises(mho.MhoError, match=message):
        mho.optimize_mapping(given.pop("cell"), given.pop("weights"), **given)
