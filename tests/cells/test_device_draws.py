"""What differs from cell to cell: the drawn populations against literal ones."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from mho.cells import ConstantStep, LinearStep, PowerStep, SoftBounds
from mho.ops import Stream
from oracles import devices as oracles

SHAPE = (500, 800)
N = SHAPE[0] * SHAPE[1]
ERRORS = 5
CHANCE = 6e-7  # two-sided, at 5 standard errors


def same_law(sample, expected, what):
    """Two samples of one law, by the two-sample Kolmogorov-Smirnov test."""
    chance = ks_2samp(np.ravel(sample), np.ravel(expected), method="asymp").pvalue
    assert chance > CHANCE, f"{what}: p = {chance:g}"


CASES = {
    "normal": (
        {"step": 0.01, "step_spread": 0.3, "asymmetry": 0.2, "asymmetry_spread": 0.05},
        {"dw_min": 0.01, "dw_min_dtod": 0.3, "up_down": 0.2, "up_down_dtod": 0.05},
    ),
    "weaker up": (
        {"step": 0.01, "step_spread": 0.4, "asymmetry": -0.3, "asymmetry_spread": 0.1},
        {"dw_min": 0.01, "dw_min_dtod": 0.4, "up_down": -0.3, "up_down_dtod": 0.1},
    ),
    "log-normal": (
        {"step": 0.1, "step_spread": 0.8, "step_law": "log_normal", "asymmetry_spread": 0.02},
        {"dw_min": 0.1, "dw_min_dtod": 0.8, "log_normal": True, "up_down_dtod": 0.02},
    ),
    "wide bounds": (
        {"low": -0.8, "high": 1.2, "low_spread": 0.6, "high_spread": 0.4},
        {"w_min": -0.8, "w_max": 1.2, "w_min_dtod": 0.6, "w_max_dtod": 0.4},
    ),
    "stuck anywhere": (
        {"stuck": 0.3, "low_spread": 0.3, "high_spread": 0.3, "step_spread": 0.3},
        {"corrupt": 0.3, "w_min_dtod": 0.3, "w_max_dtod": 0.3, "dw_min_dtod": 0.3},
    ),
    "stuck near zero": (
        {"stuck": 0.135, "stuck_range": 0.01, "low_spread": 0.5},
        {"corrupt": 0.135, "corrupt_range": 0.01, "w_min_dtod": 0.5},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_populations(name):
    """Bounds and sizes, and how the sizes of both directions belong together."""
    fields, published = CASES[name]
    cells = ConstantStep(**fields).draw(SHAPE, Stream(1, name))
    expected = oracles.draw(np.random.default_rng(7), N, **published)
    up, down = cells.size_up.double().numpy(), cells.size_down.double().numpy()
    # What has no spread is a constant, equal up to the rounding of float32.
    for sample, other, what in (
        (cells.low.double().numpy(), expected.bmin, "low"),
        (cells.high.double().numpy(), expected.bmax, "high"),
        (up, expected.s_up, "up"),
        (down, expected.s_down, "down"),
        (up - down, expected.s_up - expected.s_down, "up - down"),
        (cells.high.numpy() - cells.low.numpy(), expected.bmax - expected.bmin, "range"),
    ):
        same_law(np.round(sample, 7), np.round(other, 7), what)


def test_stuck_cells_are_exactly_those_without_steps():
    cells = ConstantStep(stuck=0.2).draw(SHAPE, Stream(1, "stuck"))
    stuck = cells.low == cells.high
    assert torch.equal(stuck, cells.size_up == 0)
    assert torch.equal(stuck, cells.size_down == 0)
    error = math.sqrt(0.2 * 0.8 / N)
    assert abs(float(stuck.double().mean()) - 0.2) < ERRORS * error


def check_normal(sample, mean, std, what):
    x = sample.double().numpy()
    assert abs(x.mean() - mean) < ERRORS * std / math.sqrt(x.size), what
    assert abs(x.std() - std) < ERRORS * std / math.sqrt(2 * x.size), what


def test_what_time_and_resets_do():
    device = ConstantStep(
        reset=0.01, reset_spread=0.02, reference=0.1, reference_spread=0.05, diffusion=0.003,
        diffusion_spread=0.2, lifetime=50.0, lifetime_spread=0.1,
    )  # fmt: skip
    cells = device.draw(SHAPE, Stream(1, "time"))
    check_normal(cells.reset, 0.01, 0.02, "reset: an absolute spread")
    check_normal(cells.reference, 0.1, 0.05, "reference: an absolute spread")
    check_normal(cells.diffusion, 0.003, 0.0006, "diffusion: a relative spread")
    check_normal(1 / cells.decay.double(), 50.0, 5.0, "lifetime: a relative spread")


def test_a_cell_that_lives_for_less_than_a_mini_batch_keeps_nothing():
    cells = ConstantStep(lifetime=1.5, lifetime_spread=1.0).draw(SHAPE, Stream(1, "short"))
    lifetime = 1.5 * (1 + Stream(1, "short").normal("device lifetime", SHAPE))
    assert torch.equal(cells.decay == 1, lifetime <= 1)
    assert bool((cells.decay > 0).all())
    assert bool((cells.decay <= 1).all())


def test_without_effects_nothing_is_kept():
    cells = ConstantStep().draw((2, 3), Stream(1, "none"))
    assert cells.decay is None
    assert cells.diffusion is None


@pytest.mark.parametrize("reference", ["mean", "own"])
def test_slopes_of_the_linear_step(reference):
    """k = -c s / R with c = |gamma + spread xi|, R the mean bound or the cell's own."""
    device = LinearStep(
        step=0.01, step_spread=0.2, low=-0.8, high=1.2, low_spread=0.1, high_spread=0.1,
        gamma_up=0.1, gamma_down=0.5, gamma_up_spread=0.1, gamma_down_spread=0.05,
        slope_reference=reference,
    )  # fmt: skip
    cells = device.draw(SHAPE, Stream(1, "slopes"))
    rng = np.random.default_rng(3)
    for slope, size, own, mean, gamma, spread in (
        (cells.shape_up, cells.size_up, cells.high, 1.2, 0.1, 0.1),
        (cells.shape_down, cells.size_down, cells.low, -0.8, 0.5, 0.05),
    ):
        bound = own.double() if reference == "own" else mean
        c = (-slope.double() * bound / size.double()).numpy()
        same_law(c, np.abs(gamma + spread * rng.standard_normal(N)), "gamma")


def test_exponents_of_the_power_step():
    """Drawn as sizes are: one gain, opposite skews, the asymmetry weakens one direction."""
    device = PowerStep(
        exponent=2.0, exponent_spread=0.1, exponent_asymmetry=0.2, exponent_asymmetry_spread=0.05
    )
    cells = device.draw(SHAPE, Stream(1, "exponents"))
    expected = oracles.draw(
        np.random.default_rng(5), N, dw_min=2.0, dw_min_dtod=0.1, up_down=0.2, up_down_dtod=0.05
    )
    up, down = cells.shape_up.double().numpy(), cells.shape_down.double().numpy()
    same_law(up, expected.s_up, "up")
    same_law(down, expected.s_down, "down")
    same_law(up - down, expected.s_up - expected.s_down, "up - down")


def test_the_symmetry_point_of_soft_bounds_is_the_closed_form():
    """w* = (s+ - s-) / (s+/high - s-/low), subtracted on top of the reference's own error."""
    device = SoftBounds(
        step=0.05, step_spread=0.3, asymmetry_spread=0.1, low_spread=0.2, high_spread=0.2,
        low=-0.8, subtract_symmetry_point=True,
    )  # fmt: skip
    stream = Stream(1, "symmetry")
    cells = device.draw(SHAPE, stream)
    drawn = oracles.Drawn(*(t.double().numpy() for t in cells[:4]))
    np.testing.assert_allclose(cells.reference.numpy(), oracles.symmetry_point(drawn), atol=2e-6)
    shifted = device.with_fields(reference=0.1, reference_spread=0.05).draw(SHAPE, stream)
    check_normal(shifted.reference.double() - cells.reference.double(), 0.1, 0.05, "reference")
    # At weight 0 both steps are equal.
    at = cells.reference.double().numpy()
    up, down = (device.respond(cells, at, u)[0] for u in (True, False))
    np.testing.assert_allclose(up, down, atol=1e-6 * 0.05)


def test_draws_follow_the_logical_matrix_and_only_the_spreads_that_are_on():
    """Another spread elsewhere leaves every other number of a cell as it is."""
    one = SoftBounds(step_spread=0.3, high_spread=0.2).draw((40, 50), Stream(1, "a"))
    two = SoftBounds(step_spread=0.3, high_spread=0.2, low_spread=0.3, lifetime=10.0).draw(
        (40, 50), Stream(1, "a")
    )
    assert torch.equal(one.high, two.high)
    assert torch.equal(one.size_up, two.size_up)
    assert not torch.equal(one.low, two.low)
