"""DistributedDataParallel on two ranks."""

import copy

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import mho
from chips import PIXELS, assert_same, chip

from .models import ready
from .ranks import assert_same_everywhere, on_two_ranks

HARDWARE = "learned, sliced"


def train(rank):
    model = ready("cnn", HARDWARE)
    reference, x = copy.deepcopy(model), torch.cat((PIXELS, -PIXELS))
    shared = DistributedDataParallel(model)
    assert_same_everywhere(chip(model))
    torch.manual_seed(rank)  # every rank draws noise of its own
    shared(x[3 * rank : 3 * rank + 3]).square().mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert_same_everywhere(gradients)
    # The mean over ranks is that of one process which draws both noises.
    for other in range(2):
        torch.manual_seed(other)
        (reference(x[3 * other : 3 * other + 3]).square().mean() / 2).backward()
    for name, p in reference.named_parameters():
        if name.endswith("input_range"):
            continue  # its decay is the same for every backward pass, however the loss is scaled
        torch.testing.assert_close(gradients[name], p.grad, msg=name)
    optimizer = torch.optim.SGD(shared.parameters(), 0.1)
    optimizer.step()
    assert_same_everywhere(dict(model.named_parameters()))
    mho.program(shared, seed=6)
    mho.at(shared, "1 y")
    assert_same_everywhere(chip(model))
    fresh = ready("cnn", HARDWARE, stage="converted")
    fresh.load_state_dict(shared.module.state_dict())
    assert_same(chip(fresh), chip(model))
    mho.restore(shared)
    assert type(model[0]) is nn.Conv2d


def test_two_ranks_train_one_model(tmp_path):
    on_two_ranks(train, tmp_path)
