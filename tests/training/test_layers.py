"""Every layer type that can be converted trains in memory, and what its gradients should be."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from mho.nn import sites
from nn.cases import FAMILIES, TORCH_WARNS, every_family, leaves

from .models import hardware

pytestmark = pytest.mark.filterwarnings(
    *TORCH_WARNS, "ignore:.*ask for more pulses than their 31 slots:UserWarning"
)
DEVICE = {"kind": "soft_bounds", "step": 1e-3, "cycle_noise": 0.3, "step_spread": 0.1}


def loss(module, case):
    return sum(y.square().sum() for y in leaves(module(*case.inputs, **case.options)))


@every_family
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_step_on_ideal_devices_is_one_of_gradient_descent(family, data):
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    module = case.module.train()
    if getattr(module, "dropout", 0.0):
        module.dropout = 0.0
    twin = copy.deepcopy(module)
    mho.convert(module, hardware(DEVICE, array={"rows": 7, "cols": 5}))
    for net in (module, twin):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        if net is module:
            mho.attach(optimizer, net, mho.Exact())
        value = loss(net, case)
        value.backward()
        optimizer.step()
    wanted = dict(twin.named_parameters())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter, wanted[name], rtol=1e-3, atol=1e-4)


@every_family
@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_trains_by_pulses(family, data):
    """Towards outputs of zero, from which only biases could keep it: the weights do part of it."""
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    module = case.module.train()
    if getattr(module, "dropout", 0.0):
        module.dropout = 0.0
    for name, parameter in module.named_parameters():
        if "bias" in name:
            parameter.requires_grad_(False).zero_()
    mho.convert(module, hardware(DEVICE))
    analog = [site.weight for site in sites(module)]
    with torch.no_grad():
        before = float(loss(module, case))
    gradients = torch.autograd.grad(loss(module, case), analog)
    size = sum(float(g.square().sum()) for g in gradients)
    # Of a parabola c w^2, loss over squared gradient is 1 / 4c; a rate of 1 / c jumps across.
    optimizer = torch.optim.SGD(analog, lr=0.3 * before / max(size, 1e-12))
    mho.attach(optimizer, module, mho.PulsedSGD())
    for _ in range(30):
        optimizer.zero_grad()
        loss(module, case).backward()
        assert all(weight.grad is None for weight in analog)
        optimizer.step()
    with torch.no_grad():
        assert float(loss(module, case)) < before or before < 1e-6


def test_grouped_convolutions_keep_groups_apart():
    """A cell gets pulses only from the inputs of its own group."""
    module = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    mho.convert(module, hardware(DEVICE))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    training = mho.attach(optimizer, module, mho.PulsedSGD())
    before = module.weight.detach().clone()
    x = torch.zeros(2, 4, 5, 5)
    x[:, :2] = torch.rand(2, 2, 5, 5)  # the second group sees nothing
    module(x).sum().backward()
    optimizer.step()
    assert training.receipt.layers[0].shape == (6, 18)
    assert (module.weight[:3] != before[:3]).any()
    assert torch.equal(module.weight[3:], before[3:])
