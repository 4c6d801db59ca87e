"""Two processes train the arrays as one with all of the mini-batch does, to the last bit."""

import gc

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import mho
from ecosystem.ranks import assert_same_everywhere, on_two_ranks

from .models import ALGORITHMS, SOFT, data, loss_of, perceptron, weights

SAME = [
    "pulsed_sgd", "tiki_taka, gamma", "chopped_tiki_taka", "agad", "residual_learning_v2",
]  # fmt: skip
"""Only whole numbers and largest values are shared. Sums of gradients are rounded otherwise."""


def trained(algorithm, rank=None, device=SOFT):
    """Train the perceptron for 4 steps, on half of each batch if there is a rank."""
    model = perceptron({**device, "write_noise": 1.0, "diffusion": 1e-4})
    net = model if rank is None else DistributedDataParallel(model)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    mho.attach(optimizer, net, algorithm)
    for step in range(4):
        batch = data(16, seed=step)
        if rank is not None:
            batch = tuple(t[8 * rank : 8 * rank + 8] for t in batch)
        optimizer.zero_grad()
        loss_of(net, batch).backward()
        optimizer.step()
        assert model[0].weight.grad is None
    return model


def compare(rank):
    for name in SAME:
        shared, alone = trained(ALGORITHMS[name], rank), trained(ALGORITHMS[name])
        assert_same_everywhere(weights(shared))
        for key, value in weights(alone).items():
            assert torch.equal(weights(shared)[key], value), (name, key)
    for name in ("exact", "mixed_precision"):
        shared, alone = trained(ALGORITHMS[name], rank), trained(ALGORITHMS[name])
        assert_same_everywhere(weights(shared))
        for key, value in weights(alone).items():
            # A gradient that is rounded otherwise may make one pulse more or less.
            step = 0.0 if name == "exact" else 3 * 0.003
            torch.testing.assert_close(weights(shared)[key], value, rtol=1e-4, atol=1e-5 + step)
    levels = trained(ALGORITHMS["mixed_precision, levels"], rank)
    assert_same_everywhere(weights(levels))
    gc.collect()  # wrappers that outlive their process group may abort the process
    distributed.barrier()


def test_two_ranks_are_one(tmp_path):
    on_two_ranks(compare, tmp_path)


def overflow(rank):
    model = DistributedDataParallel(perceptron())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, mho.PulsedSGD())
    loss = loss_of(model, data(8, seed=rank)) * (float("nan") if rank else 1.0)
    loss.backward()
    with pytest.raises(mho.MhoError, match="not finite"):
        optimizer.step()


def test_both_stop_if_one_has_errors_that_are_not_finite(tmp_path):
    on_two_ranks(overflow, tmp_path)
