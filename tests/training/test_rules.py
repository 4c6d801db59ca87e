"""The rules of attaching: what counts as the gradient of a step, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho
from mho.nn import sites

from .models import SOFT, SYMMETRIC, attached, data, hardware, loss_of, perceptron, train, weights

EXACT = mho.Exact()


def twin_of(model):
    """The same weights in a digital model."""
    return mho.restore(copy.deepcopy(model))


def both(steps, lr=0.1, algorithm=EXACT, **options):
    """A model in memory on ideal devices and its digital twin, after the same steps."""
    model = perceptron()
    twin = twin_of(model)
    pairs = []
    for net in (model, twin):
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        if net is model:
            mho.attach(optimizer, net, algorithm, **options)
        steps(net.train(), optimizer)
        pairs.append(net)
    return pairs


def assert_same(first, second):
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_step_is_one_of_gradient_descent():
    def steps(net, optimizer):
        train(net, optimizer, 5)

    assert_same(*both(steps))


def test_accumulated_backward_passes_are_one_step():
    def steps(net, optimizer):
        for seed in range(4):
            (loss_of(net, data(8, seed=seed)) / 2).backward()
            if seed % 2:
                optimizer.step()
                optimizer.zero_grad()

    assert_same(*both(steps))


def test_digital_parameters_go_on_as_usual():
    model, optimizer, _ = attached(EXACT)
    train(model, optimizer, 1)
    assert all(layer.bias.grad is not None for layer in (model[0], model[2]))
    assert all(layer.weight.grad is None for layer in (model[0], model[2]))


def test_groups_and_schedulers():
    """Each weight has the learning rate that its group has at the step."""
    model = perceptron()
    twin = twin_of(model)
    for net in (model, twin):
        optimizer = torch.optim.SGD(
            [{"params": net[0].parameters(), "lr": 0.2}, {"params": net[2].parameters()}], lr=0.05
        )
        if net is model:
            mho.attach(optimizer, net, EXACT)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        for _ in range(4):
            train(net, optimizer, 1)
            scheduler.step()
    assert_same(model, twin)


def test_adaptive_optimizers_adapt_digital_parameters_only():
    model = perceptron()
    twin = twin_of(model)
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    mho.attach(adam, model, EXACT)
    two = (
        torch.optim.Adam([twin[0].bias, twin[2].bias], lr=0.01),
        torch.optim.SGD([twin[0].weight, twin[2].weight], lr=0.01),
    )
    for seed in range(3):
        adam.zero_grad()
        loss_of(model, data(8, seed=seed)).backward()
        adam.step()
        twin.zero_grad()
        loss_of(twin, data(8, seed=seed)).backward()
        for optimizer in two:
            optimizer.step()
    assert_same(model, twin)


def test_a_weight_that_is_used_several_times():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.tanh(self.first(torch.tanh(self.first(x)))))

    torch.manual_seed(0)
    model = Twice()
    twin = copy.deepcopy(model)
    mho.convert(model, hardware())
    for net in (model, twin):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        if net is model:
            training = mho.attach(optimizer, net, EXACT)
            assert len(training.receipt.layers) == 1
        net(data(8)[0]).square().sum().backward()
        optimizer.step()
    assert_same(model, twin)


def test_frozen_weights_get_no_pulses_until_they_are_thawed():
    model = perceptron()
    model[0].weight.requires_grad_(False)
    model, optimizer, training = attached(mho.PulsedSGD(), model=model)
    assert [layer.frozen for layer in training.receipt.layers] == [True, False]
    before = weights(model)
    train(model, optimizer, 2)
    after = weights(model)
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])
    model[0].weight.requires_grad_(True)
    train(model, optimizer, 2)
    assert not torch.equal(weights(model)["0.weight"], before["0.weight"])


def test_weights_in_no_group_are_left_alone():
    model = perceptron()
    optimizer = torch.optim.SGD([*model[2].parameters()], lr=0.1)
    training = mho.attach(optimizer, model, mho.PulsedSGD())
    before = weights(model)
    train(model, optimizer, 2)
    assert [layer.name for layer in training.receipt.layers] == ["2.weight"]
    assert torch.equal(weights(model)["0.weight"], before["0.weight"])


def test_some_layers_in_memory_and_others_digital():
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = mho.attach(optimizer, model, mho.PulsedSGD(), where=mho.named("2"))
    assert [layer.name for layer in training.receipt.layers] == ["2.weight"]
    other = mho.attach(optimizer, model, mho.TikiTaka(), where=mho.named("0"))
    train(model, optimizer, 2)
    assert training.states["2.weight"].step == other.states["0.weight"].step == 2


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_a_scaled_loss(scale):
    """A power of two divides out exactly; a step that the scaler skips leaves nothing behind."""
    model, twin = perceptron(), perceptron()
    for net in (model, twin):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
        mho.attach(optimizer, net, EXACT, scaler=scaler if net is model else None)
        for seed in range(4):
            loss = loss_of(net, data(8, seed=seed))
            optimizer.zero_grad()
            if net is twin:
                if seed != 1:
                    loss.backward()
                    optimizer.step()
                continue
            scaler.scale(loss).backward()
            if seed == 1:
                net[0].bias.grad[0] = float("inf")
            scaler.step(optimizer)
            scaler.update()
    assert_same(model, twin)


def test_an_overflow_that_the_scaler_does_not_see():
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    mho.attach(optimizer, model, EXACT, scaler=scaler)
    before = weights(model)
    scaler.scale(loss_of(model, data(8)) * float("inf")).backward()
    for layer in (model[0], model[2]):
        layer.bias.grad.zero_()
    with pytest.warns(UserWarning, match="overflowed"):
        scaler.step(optimizer)
    assert all(torch.equal(v, before[k]) for k, v in weights(model).items())


def test_errors_can_be_limited():
    x, d = torch.randn(5, 6), torch.randn(5, 3)
    model = nn.Linear(6, 3)
    mho.convert(model, hardware())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, EXACT, largest_error=0.7)
    before = model.weight.detach().clone()
    model(x).backward(d)
    optimizer.step()
    factor = (0.7 / d.abs().amax(1, keepdim=True)).clamp(max=1.0)
    torch.testing.assert_close(model.weight, before - 0.1 * (factor * d).T @ x)


def test_gradient_clipping_sees_digital_parameters_only():
    model, _, _ = attached(EXACT)
    loss_of(model, data(8)).backward()
    seen = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    biases = torch.stack([layer.bias.grad.norm() for layer in (model[0], model[2])])
    torch.testing.assert_close(seen, biases.norm())


def test_closures_are_called_once():
    def steps(net, optimizer):
        for seed in range(3):

            def closure(seed=seed):
                optimizer.zero_grad()
                loss = loss_of(net, data(8, seed=seed))
                loss.backward()
                return loss

            assert optimizer.step(closure) > 0

    assert_same(*both(steps))


def test_a_closure_that_is_called_again_is_refused():
    class Twice(torch.optim.SGD):
        def step(self, closure):
            closure()
            return super().step(closure)

    model = perceptron()
    optimizer = Twice(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, EXACT)

    def closure():
        loss = loss_of(model, data(8))
        loss.backward()
        return loss

    with pytest.raises(mho.MhoError, match="calls its closure again"):
        optimizer.step(closure)


def test_what_no_step_shall_follow_can_be_forgotten():
    model, optimizer, training = attached(EXACT)
    before = weights(model)
    loss_of(model, data(8)).backward()
    training.forget()
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in weights(model).items())


def test_evaluation_leaves_nothing_behind():
    model, _, training = attached(EXACT)
    model.eval()
    with torch.no_grad():
        model(data(8)[0])
    assert training.state_dict()


def test_removed_is_gone():
    model, optimizer, training = attached(mho.PulsedSGD())
    train(model, optimizer, 1)
    training.remove()
    loss_of(model, data(8)).backward()
    assert model[0].weight.grad is not None
    before = weights(model)
    optimizer.step()
    after = weights(model)["0.weight"]
    torch.testing.assert_close(after, before["0.weight"] - 0.1 * model[0].weight.grad)
    mho.attach(optimizer, model, mho.PulsedSGD())


def test_inputs_are_limited_to_their_range():
    model = nn.Linear(3, 2, bias=False)
    mho.convert(model, hardware(dac={"range": {"kind": "fixed", "value": 0.5}}))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    mho.attach(optimizer, model, EXACT)
    before = model.weight.detach().clone()
    model(torch.tensor([[0.25, 2.0, -3.0]])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(before - model.weight, torch.tensor([[0.25, 0.5, -0.5]] * 2))


def test_half_precision_models_keep_their_arrays_in_single():
    model = perceptron(SYMMETRIC).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = mho.attach(optimizer, model, mho.PulsedSGD())
    x, y = (t.bfloat16() for t in data(16))
    loss_of(model, (x, y)).backward()
    optimizer.step()
    state = training.states["0.weight"]
    assert state.arrays["weight"].weight.dtype == torch.float32
    shown = state.arrays["weight"].weight * state.matrix.scale
    assert torch.equal(model[0].weight, shown.bfloat16())


def test_autocast():
    model, optimizer, _ = attached(EXACT)
    before = weights(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.mse_loss(model(data(8)[0]).float(), data(8)[1])
    loss.backward()
    optimizer.step()
    assert all(not torch.equal(v, before[k]) for k, v in weights(model).items())


def test_copies_are_not_in_training():
    model, _, _ = attached(mho.PulsedSGD())
    twin = copy.deepcopy(model)
    assert all(site.crossbar.recorder is None for site in sites(twin))


def test_a_compiled_model_trains_the_same():
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        model, optimizer, _ = attached(mho.TikiTaka(columns=None))
        call = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
        for seed in range(3):
            optimizer.zero_grad()
            loss_of(call, data(8, seed=seed)).backward()
            optimizer.step()
        results.append(weights(model))
    for key, value in results[0].items():
        torch.testing.assert_close(value, results[1][key])


def test_unused_layers_just_get_older():
    model, optimizer, training = attached(mho.PulsedSGD(), {**SOFT, "lifetime": 100.0})
    before = weights(model)
    model[0](data(4)[0]).sum().backward()
    optimizer.step()
    state = training.states["2.weight"]
    assert state.step == 1
    torch.testing.assert_close(weights(model)["2.weight"], before["2.weight"] * 0.99)
