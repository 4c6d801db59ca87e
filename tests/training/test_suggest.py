"""What is suggested does what it is said to do."""

import pytest
import torch
from torch import nn

import mho
from mho.tiles import Pulses

from .models import SOFT, attached, data, hardware, loss_of, perceptron, train, weights

BATCHES = [tuple(t[i : i + 16] for t in data()) for i in range(0, 256, 16)]


def loss(output, target):
    return (output - target).square().sum(1).mean()


def test_the_rate_at_which_trains_are_full():
    """kappa = lr x d / (scale step): 20 slots are full at lr = 20 * scale * step / (x d)."""
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.6)  # at 0.3 of a bound of 1: scale 2
    mho.convert(model, hardware({"kind": "constant_step", "step": 1e-3}))
    batches = [(torch.full((1, 1), 4.0), torch.zeros(1, 1))]
    found = mho.PulsedSGD().suggest(
        model, batches, lambda y, t: 0.5 * y.sum(), pulses=Pulses(slots=20)
    )
    assert found.lr == pytest.approx(20 * 2 * 1e-3 / (4 * 0.5))
    (seen,) = found.seen
    assert seen.largest == (4.0, 0.5)
    # At that rate a vector makes as many pulses as there are slots.
    assert seen.pulses(found.lr / seen.scale) == pytest.approx(20)
    assert seen.memory == float("inf")
    assert "full at lr" in str(found)


def test_memory_of_a_cell():
    """On soft bounds at +-1 steps differ by 2 step w: a pulse takes step w off, on average."""
    model = perceptron({"kind": "soft_bounds", "step": 0.004, "low": -2.0, "high": 2.0})
    (seen, _) = mho.TikiTaka().suggest(model, BATCHES, loss).seen
    assert seen.memory == pytest.approx(2.0 / 0.004, rel=1e-3)
    assert seen.states == pytest.approx(1000)


def test_looking_changes_nothing():
    model = perceptron().eval()
    model[0].bias.grad = torch.ones(8)
    before, state = weights(model), {k: v.clone() for k, v in model.state_dict().items()}
    mho.Agad().suggest(model, BATCHES, loss)
    assert not model.training
    assert torch.equal(model[0].bias.grad, torch.ones(8))
    assert model[0].weight.grad is None
    assert all(torch.equal(v, before[k]) for k, v in weights(model).items())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    attached(mho.PulsedSGD(), model=model)


@pytest.mark.parametrize(
    "algorithm", [mho.PulsedSGD(), mho.TikiTaka(), mho.TikiTakaV2(), mho.ResidualLearning()]
)
def test_it_learns_with_what_is_suggested(algorithm):
    model = perceptron(SOFT)
    found = algorithm.suggest(model, BATCHES, loss, lr=0.1)
    fields = {setting.name: setting.value for setting in found.settings}
    assert set(fields) <= set(type(algorithm).model_fields)
    model, optimizer, _ = attached(algorithm.with_fields(**fields), model=model, lr=0.1)
    before, after = train(model, optimizer, 250)
    assert after < before / 4


def test_bad_input():
    model = perceptron()
    with pytest.raises(mho.MhoError, match="no batches"):
        mho.PulsedSGD().suggest(model, [], loss)
    with pytest.raises(mho.MhoError, match="no errors came back"):
        mho.PulsedSGD().suggest(model, BATCHES, lambda y, t: 0 * y.sum())
    with pytest.raises(mho.MhoError, match="does not say how a cell"):
        mho.PulsedSGD().suggest(perceptron(None), BATCHES, loss)
    attached(mho.PulsedSGD(), model=model)
    with pytest.raises(mho.MhoError, match="attached already"):
        mho.PulsedSGD().suggest(model, BATCHES, loss)
    frozen = perceptron()
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(mho.MhoError, match="frozen"):
        mho.PulsedSGD().suggest(frozen, BATCHES, loss)
    assert loss_of(model, data(8)) > 0
