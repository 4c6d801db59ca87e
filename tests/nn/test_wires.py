"""Models on arrays with line resistance, through their whole life."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.errors import DataError

WIRES = {"kind": "resistive", "row": 20.0, "column": 20.0}
GATED = {**WIRES, "cells": "gated"}
RANGE = {"kind": "fixed", "value": 1.0}


def hardware(wires=WIRES, **parts):
    dac = {"range": RANGE}
    if wires is GATED:
        dac |= {"bits": 5, "scheme": "pulse_width"}
    array = {"rows": 12, "cols": 5, "wires": wires}
    cell = {"kind": "ideal", "g_max": 1e-4}
    return mho.Hardware(**{"array": array, "cell": cell, "dac": dac, **parts})


class Model(nn.Module):
    """A convolution with groups, a recurrent layer, attention and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1, groups=2)
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        y = self.rnn(self.conv(x).transpose(1, 2))[0]
        return self.linear(self.attention(y, y, y, need_weights=False)[0])


def model(wires=WIRES, **parts):
    torch.manual_seed(0)
    made = Model().eval()
    mho.convert(made, hardware(wires, **parts))
    return made


def size(analog):
    with torch.no_grad():
        return float(analog(X).square().sum())


X = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("wires", [WIRES, GATED], ids=["passive", "gated"])
def test_life_of_a_chip(wires):
    analog = model(wires, cell="pcm-joshi-2020")
    before = analog(X)
    mho.program(analog, seed=3)
    programmed = analog(X)
    assert not torch.equal(before, programmed)
    mho.at(analog, "30 d")
    aged = analog(X)
    assert not torch.equal(programmed, aged)
    mho.at(analog, "30 d")
    assert torch.equal(analog(X), aged)
    mho.compensate(analog, "global")
    compensated = analog(X)
    again = model(wires, cell="pcm-joshi-2020")
    again.load_state_dict(analog.state_dict())
    torch.testing.assert_close(again(X), compensated, rtol=0, atol=0)
    result = mho.evaluate(analog, size, times=["1 s"], instances=2)
    assert "1 s" in result.table()
    mho.erase(analog)
    torch.testing.assert_close(analog(X), before, rtol=0, atol=0)


@pytest.mark.parametrize("programmed", [False, True])
def test_export_holds_the_network(programmed):
    torch.manual_seed(0)
    analog = nn.Sequential(nn.Linear(20, 6)).eval()
    mho.convert(analog, hardware())
    x = torch.randn(3, 20)
    if programmed:
        mho.program(analog, seed=1)
    exported = torch.export.export(analog, (x,))
    torch.testing.assert_close(exported.module()(x), analog(x))


@pytest.mark.parametrize("wires", [WIRES, GATED], ids=["passive", "gated"])
def test_ideal_cells_programmed_are_the_cells_meant(wires):
    analog = model(wires)
    meant = analog(X)
    mho.program(analog, seed=1)
    torch.testing.assert_close(analog(X), meant, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wires", [WIRES, GATED], ids=["passive", "gated"])
def test_every_parameter_learns_through_wires(wires):
    analog = model(wires).train()
    analog(X).square().sum().backward()
    for name, parameter in analog.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_groups_of_channels_do_not_share_lines():
    torch.manual_seed(0)
    both = nn.Conv1d(4, 6, 1, groups=2, bias=False)
    halves = [nn.Conv1d(2, 3, 1, bias=False) for _ in range(2)]
    for half, weight in zip(halves, both.weight.detach().split(3), strict=True):
        half.weight.data.copy_(weight)
    x = torch.randn(2, 4, 5)
    for each in (both, *halves):
        mho.convert(each, hardware(array={"wires": {**WIRES, "row": 500.0}}))
    apart = torch.cat([half(part) for half, part in zip(halves, x.split(2, 1), strict=True)], 1)
    torch.testing.assert_close(both(x), apart)


def test_wires_act_on_arrays_that_are_trained_in_memory():
    torch.manual_seed(0)
    digital = nn.Linear(20, 6, bias=False)
    x, outputs = torch.randn(5, 20), []
    for row in (0.0, 200.0):
        analog = copy.deepcopy(digital).train()
        wires = {**WIRES, "row": row, "column": row}
        mho.convert(analog, hardware(wires, cell="idealized-2019", mapping="signed"))
        optimizer = torch.optim.SGD(analog.parameters(), lr=0.01)
        mho.attach(optimizer, analog, mho.PulsedSGD())
        outputs.append(analog(x).detach())
    assert (outputs[0] - outputs[1]).norm() > 1e-3 * outputs[0].norm()


def test_conductances_without_a_network_are_refused():
    analog = nn.Linear(4, 2)
    mho.convert(analog, hardware())
    with torch.no_grad():
        analog.weight[0, 0] = float("nan")
    with pytest.raises(DataError, match="finite"):
        analog(torch.ones(1, 4))


def digits(seed):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def train(net, data, epochs, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(data[0]), generator=generator).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data[0][batch]), data[1][batch]).backward()
            optimizer.step()


def accuracy(net, data):
    with torch.no_grad():
        return float((net(data[0]).argmax(1) == data[1]).float().mean())


def recovery(seed, ohm=40.0, epochs=12):
    """Accuracy without wires, with them, and with them after training through them, or not."""
    torch.manual_seed(seed)
    seen, unseen = digits(seed)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    train(net, seen, 20, 3e-3, seed)
    wires = {"kind": "resistive", "row": ohm, "column": ohm}
    hw = mho.Hardware(array={"wires": wires}, cell={"kind": "ideal", "g_max": 1e-4})
    through, past = copy.deepcopy(net), copy.deepcopy(net)
    mho.convert(through, hw)
    lost = accuracy(through, unseen)
    train(through, seen, epochs, 2e-3, seed)
    train(past, seen, epochs, 2e-3, seed)
    without = accuracy(past, unseen)
    mho.convert(past, hw)
    return without, lost, accuracy(through, unseen), accuracy(past, unseen)


@pytest.mark.slow
def test_training_through_wires_recovers_what_they_cost():
    without, lost, through, past = np.array([recovery(seed) for seed in range(3)]).T
    error = 5 * (through - lost).std(ddof=1) / 3**0.5  # 5 standard errors
    assert (through - lost).mean() > error
    assert (through - lost).mean() > 0.6 * (without - lost).mean()
    assert (past - lost).mean() < 0.5 * (through - lost).mean()
