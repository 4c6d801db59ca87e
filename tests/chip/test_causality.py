"""No part of a result is computed before the parts of the input that it depends on are there."""

import math

import pytest
import torch
from torch import Tensor, nn

import mho
from mho.chip._schedule import Simulation

from .chips import chip

CHIP = {"core__count": 64, "memory__capacity": 10**7}


class Op(nn.Module):
    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, x):
        return self.operation(x)


def places(x: Tensor, conv: bool) -> Tensor:
    """View a tensor as (places, channels), places in the order in which they are made."""
    return x.movedim(1, -1).flatten(0, -2) if conv else x.flatten(0, -2)


def needed(module: nn.Module, x: Tensor, conv: bool) -> list[int]:
    """Return how many places of the input each place of the output depends on: the last, plus one.

    From the Jacobian of the module; the input grows from place to place, so that the largest of a
    window is its last one.
    """
    order = torch.arange(places(x, conv).shape[0], dtype=torch.float64)
    grown = order.reshape(*x.movedim(1, -1).shape[:-1], 1).movedim(-1, 1) if conv else (
        order.reshape(*x.shape[:-1], 1)
    )  # fmt: skip
    x = (x + grown / order.numel()).requires_grad_()
    found = []
    for row in places(module(x), conv):
        (gradient,) = torch.autograd.grad(row.square().sum(), x, retain_graph=True)
        used = places(gradient, conv).abs().sum(1).nonzero()
        found.append(int(used.max()) + 1 if len(used) else 0)
    return found


def checked(operation: nn.Module, x: Tensor, conv: bool, chunks: int, streams: bool) -> None:
    """Compare when each chunk may begin with the places that it needs."""
    channels = x.shape[1] if conv else x.shape[-1]
    first = nn.Conv2d(channels, channels, 1) if x.dim() == 4 else nn.Linear(channels, channels)
    if conv and x.dim() != 4:
        first = {3: nn.Conv1d, 5: nn.Conv3d}[x.dim()](channels, channels, 1)
    model = nn.Sequential(first, operation)
    found = mho.cost(model, chip(**CHIP), torch.zeros(x.shape), inputs=1, chunks=chunks)
    before, node = found.graph.nodes[:2]
    assert [edge.streams for edge in node.edges] == [streams]
    need = needed(operation.double(), x.double(), conv)
    plan = Simulation(found.demand, 1, 0.0, chunks)
    count, source = plan.counts[1], plan.counts[0]
    assert count == min(chunks, node.positions)
    for k in range(count):
        here = (k + 1) / count
        share = 1.0
        if streams:
            share = here if node.window is None else node.window.share(here)
        there = max(1, math.ceil(share * source - 1e-9))  # chunks of the source that are waited for
        made = before.positions * there // source
        end = node.positions * (k + 1) // count
        assert made >= max(need[:end]), (k, made, need[:end])


IMAGE = torch.rand(1, 2, 8, 6)
CONVOLUTIONS = {
    "same": nn.Conv2d(2, 2, 3, padding=1),
    "valid": nn.Conv2d(2, 2, 5),
    "strided": nn.Conv2d(2, 2, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(2, 2, 3, dilation=2),
    "wide padding": nn.Conv2d(2, 2, 3, padding=3),
    "tall": nn.Conv2d(2, 2, (7, 1)),
    "transposed": nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1),
    "transposed without stride": nn.ConvTranspose2d(2, 2, 4),
}
POOLS = {
    "maximum": nn.MaxPool2d(2),
    "overlapping": nn.MaxPool2d(3, 2, 1),
    "dilated": nn.MaxPool2d(2, 1, dilation=3),
    "average": nn.AvgPool2d(3, 1),
    "adaptive": nn.AdaptiveAvgPool2d((3, 2)),
    "larger adaptive": nn.AdaptiveMaxPool2d((5, 6)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("chunks", [3, 16, 100])
def test_convolutions_wait_for_the_rows_of_their_kernel(name, chunks):
    checked(CONVOLUTIONS[name], IMAGE, True, chunks, True)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("chunks", [5, 16, 100])
def test_pools_wait_for_the_rows_of_their_window(name, chunks):
    checked(POOLS[name], IMAGE, True, chunks, True)


def test_images_of_a_batch_come_one_after_another():
    checked(nn.Conv2d(2, 2, 5, padding=1), torch.rand(3, 2, 7, 5), True, 16, True)


@pytest.mark.parametrize(
    ("operation", "shape"),
    [
        (nn.Conv1d(2, 2, 5), (1, 2, 12)),
        (nn.Conv3d(2, 2, 3, padding=1), (1, 2, 5, 3, 4)),
        (nn.MaxPool1d(3, 2), (1, 2, 12)),
    ],
)
def test_other_dimensions(operation, shape):
    checked(operation, torch.rand(shape), True, 16, True)


@pytest.mark.parametrize("conv", [True, False])
def test_what_works_place_by_place_streams(conv):
    x = IMAGE if conv else torch.rand(2, 5, 4)
    checked(nn.GELU(), x, conv, 16, True)


@pytest.mark.parametrize("operation", [nn.LayerNorm(4), nn.Softmax(-1), Op(lambda x: x.square())])
def test_norms_and_softmax_of_tokens_stream(operation):
    checked(operation, torch.rand(2, 5, 4), False, 16, True)


@pytest.mark.parametrize(
    "operation",
    [
        nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.LayerNorm((2, 8, 6)), nn.Softmax(1),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
    ],
)  # fmt: skip
def test_what_needs_the_whole_image_waits_for_it(operation):
    checked(operation, IMAGE, True, 16, False)


@pytest.mark.parametrize(
    "operation",
    [
        nn.LayerNorm((5, 4)),
        nn.Softmax(1),
        Op(lambda x: x.cumsum(1)),
        Op(lambda x: x.flip(1).tanh()),
    ],
)
def test_what_needs_other_tokens_waits_for_them(operation):
    checked(operation, torch.rand(1, 5, 4), False, 16, False)


def test_chunks_are_done_in_order():
    """Who waits for the last chunk of a node waits for all, though a later one may be faster."""
    model = nn.Sequential(nn.Linear(40, 8, bias=False), nn.Tanh(), nn.Linear(8, 8, bias=False))
    on = chip(core__count=24, core__timing__settle__value=5)
    placement = mho.place(model, on, replicate={"0.weight": 2})
    found = mho.cost(model, on, torch.zeros(5, 40), inputs=3, chunks=7, placement=placement)
    plan, done, original = Simulation(found.demand, 3, 0.0, 7), [], Simulation._finish

    def finish(job, index, k):
        done.append((job, index, k))
        original(plan, job, index, k)

    plan._finish = finish
    plan.run()
    assert len(done) == 3 * sum(plan.counts)
    for job in range(3):
        for index, count in enumerate(plan.counts):
            assert [k for j, i, k in done if (j, i) == (job, index)] == list(range(count))
