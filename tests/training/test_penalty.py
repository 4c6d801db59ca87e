"""What unequal steps up and down do to the minimum that is found, and which algorithms undo it."""

import math

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

import mho
from mho.ops import Stream
from mho.tiles import Pulses, Samples
from mho.training import Matrix

TARGET, RATE, CELLS = 0.4, 0.002, 400


def device(tau, **more):
    """q+ = 1 - w/tau, q- = 1 + w/tau: F = 1 and G = w/tau."""
    return {"kind": "soft_bounds", "step": 1e-4, "low": -tau, "high": tau, **more}


def stationary(algorithm, tau, noise, steps, start=0.0, rate=RATE, seed=0, **more):
    """Mean weight of many cells that minimise (w - 0.4)^2 / 2 with noisy gradients.

    Each cell is a problem of its own, with gradient w - 0.4 + N(0, noise).

    Returns:
        The mean over cells of the mean over the second half of the steps, and its standard error.
    """
    cell = mho.Hardware(cell={"kind": "ideal", "device": device(tau, **more)}).cell.device
    matrix = Matrix("w", cell, (CELLS, 1), Stream(seed, "w"), pulses=Pulses(slots=127))
    state = algorithm.start(matrix, torch.full((CELLS, 1), start))
    g, total, one = torch.Generator().manual_seed(seed), torch.zeros(CELLS), torch.ones(1, 1)
    for step in range(steps):
        w = algorithm.weight(state)
        d = w - TARGET + noise * torch.randn(CELLS, 1, generator=g)
        algorithm.step(state, Samples.of(one, d.T.contiguous()), rate)
        if step >= steps // 2:
            total += w[:, 0]
    mean = total / (steps - steps // 2)
    return float(mean.mean()), float(mean.std()) / math.sqrt(CELLS)


def exact_law(tau, noise):
    """Where E[g] + E|g| w / tau = 0, for the gradient g = w - 0.4 + N(0, noise)."""

    def balance(w):
        m = w - TARGET
        size = noise * math.sqrt(2 / math.pi) * math.exp(-((m / noise) ** 2) / 2)
        return m + (size + m * (1 - 2 * norm.cdf(-m / noise))) * w / tau

    return brentq(balance, 0.0, TARGET)


@pytest.mark.parametrize(("tau", "noise"), [(1.0, 0.5), (2.0, 0.5), (1.0, 0.25), (4.0, 0.5)])
def test_pulsed_descent_minimises_the_loss_and_a_penalty(tau, noise):
    """f + Sigma / (2 tau) w^2 with Sigma = E|noise|: Theorem 1 of arXiv 2502.06309, within 2 %."""
    mean, error = stationary(mho.PulsedSGD(), tau, noise, 1600, exact_law(tau, noise))
    published = TARGET / (1 + noise * math.sqrt(2 / math.pi) / tau)
    assert mean == pytest.approx(published, rel=0.02)
    # The theorem takes |g| at the minimum of f, where it is |noise|. With |g| where w is, what is
    # left is the discrete step: w fluctuates by about sqrt(rate) noise, of relative order rate.
    assert abs(mean - exact_law(tau, noise)) < 5 * error + 0.003 * TARGET


def test_the_penalty_is_linear_in_noise_and_in_one_over_the_range():
    """Slope of the relative bias 0.4 / w - 1 over Sigma / tau is 1."""
    ratios = []
    for tau, noise in ((2.0, 0.3), (2.0, 0.6)):
        mean, _ = stationary(mho.PulsedSGD(), tau, noise, 1600, exact_law(tau, noise))
        ratios.append((TARGET / mean - 1) / (noise * math.sqrt(2 / math.pi) / tau))
    assert ratios == pytest.approx([1.0, 1.0], rel=0.1)


@pytest.mark.parametrize(
    ("algorithm", "steps"),
    [
        (mho.TikiTaka(transfer_learning_rate=0.5), 3000),
        (mho.ResidualLearning(), 3000),
        (mho.ResidualLearningV2(), 3000),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_second_array_removes_it(algorithm, steps):
    """The same device and noise for which pulsed descent stops at 0.29 of 0.4."""
    mean, error = stationary(algorithm, 1.0, 0.5, steps, start=0.3, rate=5 * RATE)
    published = TARGET / (1 + 0.5 * math.sqrt(2 / math.pi))
    # What is left comes from the noise of P, which pulses W in both directions: of the penalty's
    # shift, a part E|P| / tau, with E|P| = sqrt(rate noise / (2 sqrt(2 / pi)) 2 / pi) = 0.045.
    assert abs(mean - TARGET) < 0.1 * (TARGET - published) + 5 * error
