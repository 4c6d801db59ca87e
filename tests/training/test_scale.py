"""The scale of relative weights: what it is, what depends on it, and where pulses run out."""

import pytest
import torch
from torch import nn

import mho
from mho.tiles import Pulses

from .models import SYMMETRIC, attached, hardware

EXACT = mho.Exact()


def test_saturation_is_warned_of_with_the_rate_at_which_it_starts():
    device = {"kind": "constant_step", "step": 1e-4}
    model = nn.Linear(1, 1, bias=False)
    mho.convert(model, hardware(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, mho.PulsedSGD(), scale=2.0, pulses=Pulses(slots=10))
    # kappa = lr x d / (scale step): ten slots are full at a learning rate of 10 * 2 * 1e-4.

    def steps():
        for _ in range(25):
            model(torch.ones(1, 1)).sum().backward()
            optimizer.step()

    with pytest.warns(UserWarning, match=r"100% of the vectors.*at most about 0\.002 \(now 0\.1\)"):
        steps()


def test_no_warning_just_below_it():
    device = {"kind": "constant_step", "step": 1e-4}
    model = nn.Linear(1, 1, bias=False)
    mho.convert(model, hardware(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.00199)
    mho.attach(optimizer, model, mho.PulsedSGD(), scale=2.0, pulses=Pulses(slots=10))
    for _ in range(25):
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()


def test_the_receipt_counts_what_did_not_fit():
    """Weights of 1 to 10 in units of the bound: those above it are cut, and counted."""
    model = nn.Linear(10, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.arange(1.0, 11.0))
    mho.convert(model, hardware(SYMMETRIC))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = mho.attach(optimizer, model, mho.PulsedSGD(), scale=4.0)
    assert training.receipt.cut == 6
    assert model.weight.tolist() == [[1, 2, 3, 4, 4, 4, 4, 4, 4, 4]]
    assert "clipped cells" in str(training)


def test_the_largest_weight_begins_at_the_stated_part_of_the_bound():
    device = {"kind": "soft_bounds", "step": 1e-3, "low": -0.5, "high": 2.0}
    _, _, training = attached(mho.PulsedSGD(), device, fill=0.4)
    for state in training.states.values():
        assert float(state.arrays["weight"].weight.abs().max()) == pytest.approx(0.4 * 0.5)
    assert training.receipt.cut == 0


def test_noise_is_in_units_of_the_relative_weight():
    """The read-out of arrays that are trained does not follow the largest weight of a column."""
    model = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [1e-3]]).expand(2, 4))
    noisy = hardware(noise={"output": 0.1}, dac={"range": {"kind": "fixed", "value": 1.0}})
    mho.convert(model, noisy)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, EXACT, scale=3.0)
    torch.manual_seed(0)
    n = 20_000
    for training in (True, False):
        with torch.no_grad():
            y = model.train(training)(torch.zeros(n, 4))
        std = y.std(0)
        assert ((std - 0.3).abs() < 5 * 0.3 / (2 * n) ** 0.5).all()
