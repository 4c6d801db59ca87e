"""The control: arrays on which any weight can be written."""

from typing import Literal

from torch import Tensor

from ..tiles import Samples
from ._algorithm import Algorithm
from ._state import Matrix, State


class Exact(Algorithm):
    """The ideal device: w <- w - (lr / scale) sum_n d_n x_n^T, to the precision of float32.

    It needs no description of a device, has no bounds and no granularity, and tells what accuracy
    the network and the hardware's products allow.
    """

    kind: Literal["exact"] = "exact"

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """See `Algorithm`."""
        return State(matrix, tensors={"weight": weight.clone()})

    def weight(self, state: State) -> Tensor:
        """See `Algorithm`."""
        return state.tensors["weight"]

    def update(self, state: State, samples: Samples, lr: float) -> None:
        """See `Algorithm`."""
        rate = lr / state.matrix.scale
        state.tensors["weight"].sub_(state.gradient(samples), alpha=rate)

    def gradient_rate(self, state: State, largest: tuple[float, float], lr: float) -> float | None:
        """None: there are no trains."""
        return None
