"""Run a function on two processes that talk through gloo."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed

RANKS = 2


def _enter(rank: int, function: Callable[[int], None], file: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)  # compensation reads with noise: the same on both
    store = f"file://{file}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=RANKS)
    try:
        function(rank)
    finally:
        distributed.destroy_process_group()


def on_two_ranks(function: Callable[[int], None], folder: Path) -> None:
    """Call `function(rank)` on both; an error of either is raised here."""
    torch.multiprocessing.spawn(_enter, (function, str(folder / "store")), nprocs=RANKS)


def assert_same_everywhere(tensors: dict[str, torch.Tensor]) -> None:
    """The tensors are the same on both ranks, to the last bit."""
    for name, tensor in tensors.items():
        both = [torch.empty_like(tensor) for _ in range(RANKS)]
        distributed.all_gather(both, tensor.contiguous())
        assert torch.equal(*both), name
