"""Every device preset against the curves and statistics that it was fitted to.

The numbers are those of IBM's aihwkit, presets/devices.py, in its own names.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

import mho
from mho.ops import Stream
from oracles import devices as oracles

from .suite import check_moments

ERRORS = 5
SHAPE = (400, 500)


class Fit(NamedTuple):
    draw: dict
    pulse: oracles.Pulse
    states: float  # as the preset or its paper states them, where they do
    write_noise: float = 0.0  # std, in units of weight
    gamma: tuple[float, float] = (0.0, 0.0)
    soft: bool = False


def fit(dw_min, dw_min_dtod, w_min, w_max, w_min_dtod, w_max_dtod, **more):
    return {
        "dw_min": dw_min, "dw_min_dtod": dw_min_dtod, "w_min": w_min, "w_max": w_max,
        "w_min_dtod": w_min_dtod, "w_max_dtod": w_max_dtod, **more,
    }  # fmt: skip


FITS = {
    "reram-es-2018": Fit(
        fit(0.00135, 0.2, -1, 1, 0.3, 0.3, up_down=0.259359, up_down_dtod=0.05),
        oracles.exponential_step(5.0, -1.18445, -0.081404, 5.0, 5.0, -0.5, -0.5),
        1152, 75 * 0.00135,
    ),
    "reram-sb-2018": Fit(
        fit(0.002, 0.3, -0.75, 1.25, 0.3 / 0.75, 0.3 / 1.25, up_down_dtod=0.01),
        oracles.soft_bounds(3.75, mult_noise=False), 1000, 56 * 0.002, soft=True,
    ),
    "capacitor-2018": Fit(
        fit(0.005, 0.1, -1, 1, 0.07, 0.07, up_down_dtod=0.06),
        oracles.linear_step(0.3, mult_noise=False), 400, gamma=(0.05, 0.05),
    ),
    "ecram-2018": Fit(
        fit(0.002, 0.1, -0.8276, 1.1724, 0.05, 0.05, up_down_dtod=0.01),
        oracles.linear_step(0.3), 1000, gamma=(0.1153, 0.5085),
    ),
    "ecram-mo-2019": Fit(
        fit(2.8214e-4, 0.1, -0.8286, 1.1714, 0.05, 0.05, up_down_dtod=0.01),
        oracles.linear_step(2.0), 7089, gamma=(0.4152, 0.7342),
    ),
    "idealized-2019": Fit(
        fit(0.0002, 0.3, -1, 1, 0.3, 0.3), oracles.constant_step(0.3), 10000
    ),
    "gokmen-vlasov-2016": Fit(
        fit(0.0016, 0.3, -1, 1, 0.3, 0.3, up_down_dtod=0.01), oracles.constant_step(0.3), 1250
    ),
    "pcm-nandakumar-2020": Fit(
        fit(0.01, 0.2, 0, 2, 0.0, 0.1, up_down_dtod=0.05),
        oracles.exponential_step(0.6, -27.235, -2.235, 2.5, 2.5, -1.0, 0.0, 0.042, 0.108),
        4 / (0.01 * 28.235),
    ),
    "reram-om-2022": Fit(
        fit(0.0949, 0.7829, -1, 1, 0.5695, 0.3499, up_down_dtod=0.01, log_normal=True),
        oracles.soft_bounds(0.4158, mult_noise=False), 21.07, 1.4113 * 0.0949, soft=True,
    ),
    "reram-hfo2-2022": Fit(
        fit(0.4622, 0.7125, -1, 1, 0.5990, 0.4295, up_down_dtod=0.01, log_normal=True),
        oracles.soft_bounds(0.2174, mult_noise=False), 4.33, 0.5841 * 0.4622, soft=True,
    ),
}  # fmt: skip


def mean_cell(published: Fit) -> oracles.Cell:
    d = published.draw
    s_up, s_down = d["dw_min"], d["dw_min"] * (1 - d.get("up_down", 0.0))
    k_up = -published.gamma[0] * s_up / d["w_max"]
    k_down = -published.gamma[1] * s_down / d["w_min"] if d["w_min"] else 0.0
    cell = (d["w_min"], d["w_max"], s_up, s_down, k_up, k_down)
    return oracles.Cell(*(np.array(float(x)) for x in cell))


def device(name):
    """The single device of a preset, without what only shifts its weight."""
    single = mho.load(name).cell.device.singles[0]
    return single.with_fields(subtract_symmetry_point=False, reference_spread=0.0)


def test_every_preset_with_a_device_is_here():
    assert {n for n in mho.presets() if mho.load(n).cell.device is not None} == set(FITS)


@pytest.mark.parametrize("name", FITS)
def test_spreads_over_cells(name):
    cells = device(name).draw(SHAPE, Stream(1, name))
    expected = oracles.draw(np.random.default_rng(11), SHAPE[0] * SHAPE[1], **FITS[name].draw)
    for sample, other in zip(cells[:4], expected, strict=True):
        x = sample.double().numpy().ravel()
        assert ks_2samp(np.round(x, 7), np.round(other, 7), method="asymp").pvalue > 6e-7


@pytest.mark.parametrize("name", FITS)
def test_mean_curve(name):
    """Up through the range and down again, with and without the noise of a pulse."""
    published, single = FITS[name], device(name)
    literal, cell = mean_cell(published), single.mean_cell()
    low, high = literal.bmin, literal.bmax
    ours = theirs = np.full((1, 1), float(low))
    for up in (True, False):
        for k in range(600):
            xi = 0.2 * math.sin(k)  # any number will do; the pulse's noise follows it
            step, spread = single.respond(cell, ours, up)
            ours = np.clip(ours + (1 if up else -1) * (step + spread * xi), low, high)
            theirs = published.pulse(theirs, up, literal, np.array(xi))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FITS)
def test_moments_of_a_pulse(name):
    published, single = FITS[name], device(name)
    literal, cell = mean_cell(published), single.mean_cell()
    low, high = float(literal.bmin), float(literal.bmax)
    xi = Stream(3, name).normal("xi", (1, 100_000)).double()
    for share in (0.1, 0.5, 0.9):
        state = low + share * (high - low)
        for up in (True, False):
            step, spread = single.respond(cell, np.full((1, 1), state), up)
            move = step.item() + spread.item() * xi
            moved = (state + move if up else state - move).clamp(low, high)

            def law(xi, up=up, state=state):
                return published.pulse(np.array(state), up, literal, xi)

            check_moments(moved, law, f"{name} at {share} of the range")


@pytest.mark.parametrize("name", FITS)
def test_states_and_write_noise(name):
    whole, published = mho.load(name).cell.device, FITS[name]
    assert (whole.high - whole.low) / whole.granularity == pytest.approx(published.states, rel=1e-3)
    assert whole.singles[0].write_std == pytest.approx(published.write_noise, rel=1e-12)


@pytest.mark.parametrize("name", FITS)
def test_converters(name):
    """1/126 inputs scaled per vector, 1/510 outputs bounded at 20 with retries, noise 0.1."""
    hw = mho.load(name)
    assert (hw.dac.half_steps, hw.dac.range.kind) == (63, "per_token")
    assert (hw.adc.half_steps, hw.adc.bound, hw.adc.overflow) == (255, 20.0, "retry")
    assert hw.noise.output == 0.1
    assert (hw.cell.signed, hw.mapping.kind) == (True, "signed")


@pytest.mark.parametrize(("name", "gamma"), [("ecram-2018", 0.05), ("ecram-mo-2019", 0.05)])
def test_electrochemical_cells_are_symmetric_about_zero(name, gamma):
    """The range was shifted for that: both mean steps at 0 are the same; their slopes spread."""
    single = device(name)
    assert single.symmetry_point(single.mean_cell()).item() == pytest.approx(0, abs=1e-12)
    assert (single.gamma_up_spread, single.gamma_down_spread) == (gamma, gamma)


def test_the_capacitor_leaks():
    cells = device("capacitor-2018").draw(SHAPE, Stream(1, "leak"))
    lifetime = 1 / cells.decay.double()
    drawn = 1e6 * (1 + 0.3 * Stream(1, "leak").normal("device lifetime", SHAPE))
    # The standard error of a median is 1.2533 that of a mean.
    assert float(lifetime.median()) == pytest.approx(
        1e6, rel=5 * 0.3 * 1.2533 / drawn.numel() ** 0.5
    )
    assert torch.equal(cells.decay, 1 / drawn.clamp(min=1.0))


@pytest.mark.parametrize(("name", "rate"), [("reram-om-2022", 0.135), ("reram-hfo2-2022", 0.098)])
def test_arrays_subtract_their_symmetry_points(name, rate):
    """With an error of 5 % of w_max; the measured share of stuck cells lies within 0.01."""
    single = mho.load(name).cell.device
    cells = single.draw(SHAPE, Stream(1, name))
    drawn = oracles.Drawn(*(t.double().numpy() for t in cells[:4]))
    error = cells.reference.double().numpy() - oracles.symmetry_point(drawn)
    assert abs(error.std() - 0.05) < ERRORS * 0.05 / math.sqrt(2 * error.size)
    stuck = single.with_fields(stuck=rate).draw(SHAPE, Stream(1, name))
    dead = stuck.low == stuck.high
    bound = ERRORS * math.sqrt(rate * (1 - rate) / dead.numel())
    assert abs(float(dead.double().mean()) - rate) < bound
    assert float(stuck.low[dead].abs().max()) <= 0.01


def test_phase_change_memory_goes_up_in_shrinking_steps():
    """20 partial SET pulses from reset, with all noise: mean and variance as the literal loop."""
    pair = mho.load("pcm-nandakumar-2020").cell.device
    single, n = device("pcm-nandakumar-2020"), 100_000
    pulse = FITS["pcm-nandakumar-2020"].pulse
    assert pair.singles == (single, single)
    assert (pair.factors, pair.refresh_every, pair.upper, pair.lower) == ((1, -1), 1, 0.75, 0.25)
    literal, cell = mean_cell(FITS["pcm-nandakumar-2020"]), single.mean_cell()
    rng, means = np.random.default_rng(5), [0.0]
    ours = theirs = np.zeros((1, n))
    for k in range(20):
        step, spread = single.respond(cell, ours, True)
        xi = Stream(9, "pcm").normal("xi", (1, n), k).double().numpy()
        ours = np.clip(ours + step + spread * xi, 0, 2)
        theirs = pulse(theirs, True, literal, rng.standard_normal((1, n)))
        for moment in (np.mean, np.var):
            error = math.hypot(*(_error(x, moment) for x in (ours, theirs)))
            assert abs(moment(ours) - moment(theirs)) < ERRORS * error, k
        means.append(ours.mean())
    steps = np.diff(means)
    assert (steps > 0).all()
    assert (np.diff(steps[:6]) < 0).all()
    reset = single.draw(SHAPE, Stream(1, "reset")).reset.double()
    assert abs(float(reset.mean()) - 0.01) < ERRORS * 0.02 / math.sqrt(reset.numel())
    assert (single.reset_spread, single.reset_noise) == (0.02, 0.01)


def _error(x, moment):
    m2 = x.var()
    if moment is np.mean:
        return math.sqrt(m2 / x.size)
    return math.sqrt((((x - x.mean()) ** 4).mean() - m2**2) / x.size)
