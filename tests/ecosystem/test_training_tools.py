"""Ordinary tools of training: checkpointing, autocast, functional calls, averages, optimizers."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import mho
from chips import PIXELS, assert_same, chip, cnn, output

from .models import HARDWARE, INPUTS, mlp, ready, step


@pytest.mark.parametrize("stage", ["converted", "programmed"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_repeats_the_noise(stage, reentrant):
    """The recomputed forward draws the same noise: gradients are those without checkpointing."""

    class Checkpointed(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return checkpoint(self.model, x, use_reentrant=reentrant)

    model, seen = ready("cnn", "every spread", stage), []
    wanted = step(model, PIXELS)
    model[0].register_forward_hook(lambda module, args, y: seen.append(y.detach()))
    found = step(Checkpointed(model), PIXELS)
    assert len(seen) == 2  # run twice ...
    assert torch.equal(*seen)  # ... with the same noise
    assert_same({k.removeprefix("model."): v for k, v in found.items()}, wanted)


def test_autocast_computes_products_in_bfloat16_and_levels_in_float32():
    model, x = ready("mlp"), INPUTS["mlp"]
    plain = step(model, x)
    kept = chip(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = step(model, x)
    assert_same(chip(model), kept)
    assert found.keys() == plain.keys()
    for key, value in found.items():
        assert value.dtype == torch.float32, key
        # bfloat16 has 8 significant bits: 2^-8 in each of two products, and a code that moves.
        assert (value - plain[key]).norm() < 0.05 * plain[key].norm(), key
    assert not torch.equal(found["y"], plain["y"])  # it was cast indeed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_training_in_other_precisions(dtype):
    model = ready("cnn").to(dtype)
    found = step(model, PIXELS.to(dtype))
    for key, value in found.items():
        assert value.dtype == dtype, key
        assert value.isfinite().all(), key


def test_functional_calls_use_the_weights_that_are_given():
    digital = cnn()
    model = copy.deepcopy(digital)
    mho.convert(model, mho.Hardware(dac={"range": {"kind": "fixed", "value": 100.0}}))
    weights = {name: 2 * value.detach() for name, value in digital.named_parameters()}
    y = torch.func.functional_call(model, weights, (PIXELS,))
    torch.testing.assert_close(y, torch.func.functional_call(digital, weights, (PIXELS,)))


# Slow, but right, says torch.
@pytest.mark.filterwarnings("ignore:.*batching rule for aten..clamp_:UserWarning")
def test_gradients_of_single_samples_by_vmap():
    model, x = mlp(), INPUTS["mlp"]
    levels = {"bits": 8, "range": {"kind": "fixed", "value": 2.0}}
    mho.convert(model, mho.Hardware(cell="pcm", dac=levels, adc={"bits": 8, "bound": 10.0}))
    mho.program(model)
    weights = {name: value.detach() for name, value in model.named_parameters()}

    def loss(weights, sample):
        return torch.func.functional_call(model, weights, (sample[None],)).square().sum()

    single = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for i, sample in enumerate(x):
        model.zero_grad()
        model(sample[None]).square().sum().backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(single[name][i], p.grad, msg=name)


def test_an_optimizer_made_before_conversion_goes_on():
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    parameters = dict(model.named_parameters())
    target = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
    mho.convert(model, HARDWARE["standard"])
    mho.calibrate(model, [PIXELS])
    assert all(parameters[name] is value for name, value in model.named_parameters())
    torch.manual_seed(0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(PIXELS) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("stage", ["converted", "programmed"])
def test_averaged_models_are_models_of_their_own(stage):
    model = ready("cnn", stage=stage)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    average.update_parameters(model)  # the first one copies
    before = model[3].weight.detach().clone()
    with torch.no_grad():
        model[3].weight += 1
    average.update_parameters(model)
    torch.testing.assert_close(average.module[3].weight, before + 0.5)
    if stage == "programmed":
        assert_same(chip(average.module), chip(model))
    mho.program(average.module, seed=9)
    assert output(average.module).isfinite().all()
    if stage == "programmed":
        assert int(model[3].analog["weight"].seed) == 3


def test_forward_hooks_and_names_stay():
    model, seen = cnn(), []
    model[3].register_forward_hook(lambda module, args, y: seen.append(y))
    layer = model[3]
    mho.convert(model, HARDWARE["standard"])
    mho.calibrate(model, [PIXELS])
    seen.clear()
    y = model(PIXELS)
    assert model[3] is layer
    assert seen[0] is y


def test_a_learned_range_is_trained_by_an_optimizer():
    model = ready("mlp", "learned, sliced", stage="converted")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model[1].analog["weight"].input_range.detach().clone()
    step(model, INPUTS["mlp"])
    optimizer.step()
    assert not torch.equal(model[1].analog["weight"].input_range, before)
