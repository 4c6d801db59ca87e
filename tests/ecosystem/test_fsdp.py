"""FSDP2 (fully_shard) on two ranks."""

import copy

import pytest
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import mho
from chips import PIXELS, assert_same, chip

from .models import ready
from .ranks import assert_same_everywhere, on_two_ranks

HARDWARE = "learned, sliced"


def train(rank):
    model = ready("cnn", HARDWARE)
    reference, x = copy.deepcopy(model), torch.cat((PIXELS, -PIXELS))
    mesh = init_device_mesh("cpu", (2,))
    for layer in (model[0], model[3], model):
        fully_shard(layer, mesh=mesh)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    assert_same(chip(model), chip(reference))
    torch.manual_seed(rank)
    model(x[3 * rank : 3 * rank + 3]).square().mean().backward()
    for other in range(2):
        torch.manual_seed(other)
        (reference(x[3 * other : 3 * other + 3]).square().mean() / 2).backward()
    wanted = dict(reference.named_parameters())
    for name, p in model.named_parameters():
        if name.endswith("input_range"):
            continue  # its decay is the same for every backward pass, however the loss is scaled
        torch.testing.assert_close(p.grad.full_tensor(), wanted[name].grad, msg=name)
    for each in (model, reference):
        torch.optim.SGD(each.parameters(), 0.1).step()
        mho.at(mho.program(each, seed=6), "1 y")
        mho.compensate(each, "global_exact")
    sharded, single = chip(model), chip(reference)
    assert_same_everywhere(sharded)
    for name, value in single.items():  # from weights that differ by the order of sums
        torch.testing.assert_close(sharded[name], value, atol=1e-6, rtol=1e-4, msg=name)
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    if rank == 0:
        fresh = ready("cnn", HARDWARE, stage="converted")
        fresh.load_state_dict(state)
        assert_same(chip(fresh), sharded)
    with pytest.raises(mho.MhoError, match="calibrate before sharding"):
        mho.calibrate(model, [x])
    with pytest.raises(mho.MhoError, match="by FSDP"):
        mho.restore(model)


def test_two_ranks_train_one_sharded_model(tmp_path):
    on_two_ranks(train, tmp_path)
