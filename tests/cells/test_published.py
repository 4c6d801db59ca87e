"""Numbers that can be read off the papers, and defects of published code that must not return."""

import math

import pytest
import torch

from mho.cells import Afm, CmoHfox, Hermes, Pcm, ReramWan
from mho.cells._read import accumulated
from mho.ops import Stream

YEAR = 3.15e7


def std_at(cell, g):
    """Standard deviation [S] of programming at a target [S], from the law itself: xi = 1."""
    target = torch.tensor([g])
    return float((cell.programming.program(target, cell.g_max, torch.ones(1)) - target)[0])


@pytest.mark.parametrize(("r", "microsiemens"), [(0.0, 0.26348), (1.0, 1.05538)])
def test_pcm_programming_noise(r, microsiemens):
    assert std_at(Pcm(), r * 25e-6) == pytest.approx(microsiemens * 1e-6, rel=1e-5)


def test_pcm_programming_noise_is_four_percent_of_full_scale():
    assert round(100 * std_at(Pcm(), 25e-6) / 25e-6, 1) == 4.2


def test_pcm_linear_coefficient_has_no_digits_swapped():
    """1.9650/25 = 0.0786; a published default says 0.0768."""
    assert Pcm().programming.std.coefficients[1] / 25 == pytest.approx(0.0786, abs=1e-5)


def test_pcm_halves_within_a_year():
    """A full-scale cell with the mean exponent 0.049 keeps (1 + 3.15e7/20)^-0.049 = 0.497."""
    cell = Pcm(programming=None, read=None)
    n = 100_000
    stream = Stream(1, "year")
    state = cell.program(torch.full((n,), 25e-6), stream)
    kept = cell.conductance(state, YEAR, stream) / state.programmed
    # The median belongs to the mean exponent. Its standard error is that of a normal median,
    # 1.2533/sqrt(n) times the spread of ln(kept), 0.008 ln(1 + t/t0).
    error = 1.2533 / math.sqrt(n) * 0.008 * math.log1p(YEAR / 20)
    assert abs(math.log(float(kept.median())) - math.log(0.497)) < 5 * error + 0.0005 / 0.497


def test_read_noise_of_a_fresh_pcm_cell():
    """sqrt(ln(20/5e-7)) = 4.18, hence 3.7 % at full scale."""
    assert accumulated(20.0, 250e-9) == pytest.approx(4.18, abs=0.005)
    full = torch.tensor([25e-6])
    assert float(Pcm().read.std(full, full, 0.0, 25e-6) / full) == pytest.approx(0.037, abs=5e-4)


def test_drift_only_lowers_conductance_and_not_at_zero():
    cell = Pcm(read=None)
    stream = Stream(1, "monotone")
    state = cell.program(stream.uniform("g", (10_000,)) * 25e-6, stream)
    times = (0.0, 1e-3, 1.0, 60.0, 3600.0, 86400.0, YEAR, 10 * YEAR)
    aged = torch.stack([cell.conductance(state, t, stream) for t in times])
    assert torch.equal(aged[0], state.programmed)
    assert (aged.diff(dim=0) <= 0).all()


@pytest.mark.parametrize(
    ("weight", "std"),
    [
        (0.6, 2.713),
        (10, 4.480),
        (52.5 - 1e-4, 8.362),
        (52.5 + 1e-4, 8.355),
        (100, 8.425),
        (180, 19.198),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_afm_polynomial(weight, std, sign):
    """In units of which 180 is the largest weight of a column."""
    cell = Afm()
    got = std_at(cell, sign * weight / 180 * cell.g_max * (1 + 1e-6)) / cell.g_max * 180
    assert got == pytest.approx(std, abs=6e-4)


def test_afm_resets_small_weights():
    cell = Afm()
    target = torch.linspace(-1, 1, 2001) * cell.g_max / 100  # up to 1.8 units
    programmed = cell.program(target, Stream(1, "reset")).programmed
    small = target.abs() < 0.6 / 180 * cell.g_max
    assert (programmed[small] == 0).all()
    assert (programmed[~small] != 0).all()


def test_afm_noise_may_flip_the_sign():
    """The published error is added to the signed weight and is not clipped."""
    cell = Afm()
    target = torch.full((1000,), 1.0 / 180 * cell.g_max)
    assert (cell.program(target, Stream(1, "flip")).programmed < 0).any()


@pytest.mark.parametrize(("devices", "g_max"), [(1, 10.35e-6), (2, 20.7e-6)])
def test_hermes_ranges(devices, g_max):
    cell = Hermes(devices=devices)
    assert cell.g_max == g_max
    assert cell.drift.t0 == cell.read.t0 == {1: 200.0, 2: 300.0}[devices]


def test_two_devices_are_programmed_more_precisely_than_one():
    one, two = Hermes(devices=1), Hermes(devices=2)
    for r in (0.25, 0.5, 0.75, 1.0):
        assert std_at(two, r * two.g_max) / two.g_max < std_at(one, r * one.g_max) / one.g_max


def test_wan_error_scales_from_forty_microsiemens():
    """Published code keeps the error of 40 uS at any g_max."""
    at_40 = std_at(ReramWan(), 40e-6)
    assert at_40 == pytest.approx(1.103e-6, rel=1e-4)  # sum of the coefficients at 1 s
    assert std_at(ReramWan(g_max=25e-6), 25e-6) == pytest.approx(at_40 * 25 / 40, rel=1e-4)


def test_cmo_programming_noise_reaches_ten_nanosiemens():
    """Falcone et al., abstract: down to 10 nS."""
    assert std_at(CmoHfox(), 9e-6) == pytest.approx(10e-9, rel=0.05)


def test_cmo_relaxation_after_ten_years():
    """mean -0.089 ln t, spread 0.042 ln t + 0.412 uS."""
    n, t = 100_000, 10 * YEAR
    cell = CmoHfox(programming=None, read=None)
    stream = Stream(1, "cmo")
    shift = cell.conductance(cell.program(torch.full((n,), 50e-6), stream), t, stream) - 50e-6
    mean, std = -0.08900206e-6 * math.log(t), (0.04201137 * math.log(t) + 0.41183342) * 1e-6
    assert abs(float(shift.mean()) - mean) < 5 * std / math.sqrt(n)
    assert abs(float(shift.std()) - std) < 5 * std / math.sqrt(2 * n)
