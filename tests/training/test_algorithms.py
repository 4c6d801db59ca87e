"""What holds for every algorithm, with all noise of the devices on."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho.spec import Variant
from mho.tiles import Pulses

from .models import ALGORITHMS, SOFT, attached, data, train, weights

every = pytest.mark.parametrize("name", ALGORITHMS)


def test_every_algorithm_is_here():
    members = Variant.families["algorithm"].members
    assert {algorithm.kind for algorithm in ALGORITHMS.values()} == set(members)


@every
def test_it_learns(name):
    """The loss falls far below that of the best constant output."""
    model, optimizer, _ = attached(ALGORITHMS[name])
    _, y = data()
    constant = float((y - y.mean(0)).square().sum(1).mean())
    before, after = train(model, optimizer, 200)
    assert before > constant  # there is something to learn
    assert after < 0.5 * constant


@every
def test_the_same_seed_is_the_same_training(name):
    first, second, other = ([*attached(ALGORITHMS[name], seed=s), s] for s in (0, 0, 1))
    for model, optimizer, *_ in (first, second, other):
        train(model, optimizer, 3)
    for key, value in weights(first[0]).items():
        assert torch.equal(value, weights(second[0])[key])
    assert any(not torch.equal(v, weights(other[0])[k]) for k, v in weights(first[0]).items())


@every
def test_the_weight_begins_and_stays_what_the_arrays_show(name):
    algorithm = ALGORITHMS[name]
    model, optimizer, training = attached(algorithm)
    for _ in range(2):
        for key, value in weights(model).items():
            state = training.states[key]
            assert torch.equal(value, algorithm.weight(state) * state.matrix.scale)
        train(model, optimizer, 2)


@every
def test_zero_learning_rate_makes_no_pulses(name):
    model, optimizer, training = attached(ALGORITHMS[name], lr=0.0)
    before = copy.deepcopy(training.state_dict()["layers"])
    train(model, optimizer, 3)
    after = training.state_dict()["layers"]
    for layer, state in after.items():
        assert state["step"] == 3
        for array, kept in state["arrays"].items():
            for now, was in zip(
                kept["arrays"], before[layer]["arrays"][array]["arrays"], strict=True
            ):
                assert torch.equal(now["state"], was["state"])
        for key, tensor in state["tensors"].items():
            assert torch.equal(tensor, before[layer]["tensors"][key])


@every
def test_time_passes_whatever_the_learning_rate(name):
    """Cells that decay do so once per optimizer step: by (1 - 1/lifetime) towards the reset."""
    if name == "exact":
        pytest.skip("the ideal device has no time")
    device = {"kind": "constant_step", "step": 1e-3, "lifetime": 10.0}
    model, optimizer, _ = attached(ALGORITHMS[name], device, lr=0.0)
    before = weights(model)
    train(model, optimizer, 3)
    for key, value in weights(model).items():
        torch.testing.assert_close(value, before[key] * 0.9**3)


@every
def test_resumed_is_uninterrupted_bit_for_bit(name, tmp_path):
    device = {**SOFT, "write_noise": 2.0, "diffusion": 1e-4, "lifetime": 1e4}
    hardware = {"noise": {"output": 0.02}, "dac": {"range": {"kind": "fixed", "value": 4.0}}}
    whole, parts = (_run(ALGORITHMS[name], device, hardware, stop, tmp_path) for stop in (None, 5))
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def _run(algorithm, device, hardware, stop, folder):
    """Train 11 steps, in one go or with a stop at which everything goes through a file."""
    from .models import perceptron

    torch.manual_seed(3)
    model = perceptron(device, **hardware)
    made = attached(algorithm, model=model)
    for step in range(11):
        if step == stop:
            states = {
                "model": model.state_dict(),
                "optimizer": made[1].state_dict(),
                "training": made[2].state_dict(),
                "generator": torch.get_rng_state(),
            }
            torch.save(states, folder / "saved.pt")
            states = torch.load(folder / "saved.pt", weights_only=True)
            model = perceptron(device, seed=9, **hardware)  # other weights
            made = attached(algorithm, model=model)
            model.load_state_dict(states["model"])
            made[1].load_state_dict(states["optimizer"])
            made[2].load_state_dict(states["training"])
            torch.set_rng_state(states["generator"])
        x, y = data(16, seed=step)
        made[1].zero_grad()
        (model(x) - y).square().mean().backward()
        made[1].step()
    return dict(model.state_dict())


@pytest.mark.parametrize("pulses", [
    Pulses(slots=5), Pulses(train="mean_count"), Pulses(train="implicit"), Pulses(train="exact"),
    Pulses(fidelity="pulse"), Pulses(fidelity="moments"),
    Pulses(update_management=False, slot_management=False, slots=2000),
], ids=str)  # fmt: skip
def test_any_trains_will_do(pulses):
    model, optimizer, _ = attached(mho.TikiTaka(columns=None), pulses=pulses, lr=0.02)
    before, after = train(model, optimizer, 100)
    assert after < before / 2


def test_on_ideal_devices_every_algorithm_goes_the_way_of_gradient_descent():
    """With steps so small that nothing is rounded, pulsed SGD is SGD within its sampling noise."""
    device = {"kind": "constant_step", "step": 1e-5}
    ideal, _, _ = _trained(mho.Exact(), device)
    pulsed, _, _ = _trained(mho.PulsedSGD(), device)
    mixed, _, _ = _trained(mho.MixedPrecision(), device)
    start = weights(nn.Sequential(*_fresh(device)))
    for key, value in weights(ideal).items():
        way = float((value - start[key]).norm())
        assert float((weights(mixed)[key] - value).norm()) < 0.01 * way
        assert float((weights(pulsed)[key] - value).norm()) < 0.2 * way


def _fresh(device):
    from .models import perceptron

    return perceptron(device)


def _trained(algorithm, device):
    made = attached(algorithm, device, lr=0.02, pulses=Pulses(slots=1000), scale=1.0)
    train(made[0], made[1], 20)
    return made
