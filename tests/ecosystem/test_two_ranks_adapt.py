"""Hardware-aware training of a language model on two ranks, under DDP and under FSDP2.

Both in one pair of processes: to start them takes longer than to train in them.
"""

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import mho
from chips import assert_same
from mho.nn import gathered, sites

from .language import build, run
from .ranks import assert_same_everywhere, on_two_ranks

HARDWARE = mho.Hardware(
    cell="pcm",
    array={"rows": 20},
    dac={"bits": 8, "range": "learned"},
    adc={"bits": 8, "bound": 10.0},
)
ADAPTATION = mho.Adaptation(
    noise=mho.AdditiveNoise(std=0.03),
    clip={"kind": "column", "sigma": 2.5},
    range_decay={"decay": 0.01, "keep": 0.95},
)
STEPS = 7
TEXT = 3 + (torch.arange(4)[:, None] * 7 + 5 * torch.arange(8)) % 61


def pupil():
    """A converted and calibrated model with tied embeddings, in training mode."""
    model = build("llama, tied")
    mho.convert(model, HARDWARE)
    mho.calibrate(model, [TEXT], method="moving_std")
    return model.train()


def adapted(model):
    """An optimizer that is adapted, without momentum."""
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    mho.adapt(model, ADAPTATION, optimizer)
    return optimizer


def lesson(model, rank):
    """The loss on the rank's half of the text."""
    text = TEXT[2 * rank : 2 * rank + 2]
    return model(input_ids=text, labels=text).loss


def assert_one_step_is_that_of_one_process(wrapped, model, optimizer, rank):
    """Each rank draws noise of its own; one process that averages over both draws does the same."""
    torch.manual_seed(rank)
    lesson(wrapped, rank).backward()
    optimizer.step()
    reference = pupil()
    alone = adapted(reference)
    for other in range(2):
        torch.manual_seed(other)
        (lesson(reference, other) / 2).backward()
    alone.step()
    for key, value in reference.named_parameters():
        torch.testing.assert_close(gathered(model.get_parameter(key)), value, msg=key)


def assert_learns(wrapped, model, optimizer, rank):
    """The loss falls, weights and ranges move and keep to their rules, and ranks stay the same."""
    before = {key: gathered(p.detach()).clone() for key, p in model.named_parameters()}
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = lesson(wrapped, rank)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    assert optimizer.param_groups[0]["adaptation_step"] == 1 + STEPS
    found = {key: gathered(p.detach()) for key, p in model.named_parameters()}
    for key, now in found.items():
        assert not torch.equal(now, before[key]), key
        assert now.isfinite().all(), key
        assert not key.endswith("input_range") or (now > 0).all(), key
    for site in sites(model):
        for part in site.matrix.detach().split(list(site.crossbar.geometry.partition.rows), 1):
            assert (part.abs().amax(1) <= 2.5 * part.std(1) * (1 + 1e-4)).all(), site.name
    assert_same_everywhere(found)


def under_ddp(rank):
    model = pupil()
    optimizer = adapted(model)
    shared = DistributedDataParallel(model)
    assert_one_step_is_that_of_one_process(shared, model, optimizer, rank)
    assert_learns(shared, model, optimizer, rank)


def under_fsdp(rank):
    model = pupil()
    mesh = init_device_mesh("cpu", (2,))
    for layer in (*model.model.layers, model):
        fully_shard(layer, mesh=mesh)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    optimizer = adapted(model)
    assert_one_step_is_that_of_one_process(model, model, optimizer, rank)
    assert_learns(model, model, optimizer, rank)
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    if rank == 0:  # what was trained in shards is a whole model again
        whole = pupil()
        whole.load_state_dict(state)
        assert_same(dict(whole.state_dict()), {key: state[key] for key in whole.state_dict()})
        assert run(whole.eval()).isfinite().all()


def train(rank):
    under_ddp(rank)
    under_fsdp(rank)


def test_two_ranks_train_one_model(tmp_path):
    on_two_ranks(train, tmp_path)
