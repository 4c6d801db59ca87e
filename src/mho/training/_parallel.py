"""Several processes that train the same arrays, each with its part of the mini-batch."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Parallel:
    """What the processes of a group tell each other in a step.

    Whole numbers of coincidences are added up, so that all processes move their copies of the
    arrays alike, and as one process with all of the mini-batch would. As gradients are averaged,
    each error counts one over the number of processes.
    """

    def __init__(self, group: Any) -> None:
        self.group = group
        self.size, self.rank = distributed.get_world_size(group), distributed.get_rank(group)

    def add(self, tensor: Tensor) -> None:
        """Add up a tensor over the processes, in place."""
        distributed.all_reduce(tensor, group=self.group)

    def most(self, values: tuple[float, ...], place: torch.device) -> tuple[float, ...]:
        """Return the largest of each number over the processes."""
        shared = torch.tensor(values, dtype=torch.float64, device=place)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self.group)
        return tuple(shared.tolist())

    def counts(self, n: int, place: torch.device) -> list[int]:
        """Return a number of every process."""
        each = torch.zeros(self.size, dtype=torch.int64, device=place)
        each[self.rank] = n
        self.add(each)
        return each.tolist()


def parallel_of(model: nn.Module) -> Parallel | None:
    """Return the group over which a wrapped model is trained, if it is by more than one process."""
    if not isinstance(model, DistributedDataParallel):
        return None
    found = Parallel(model.process_group)
    return found if found.size > 1 else None
