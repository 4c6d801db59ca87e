"""Single weight matrices on arrays of pulsed cells, as several reproductions train them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mho.cells import Device
from mho.ops import Stream
from mho.tiles import Pulses, ReadOut, Samples
from mho.training import Algorithm, Matrix, State

Vectors = Callable[[Tensor], tuple[Tensor, Tensor]]


def descend(
    algorithm: Algorithm,
    device: Device,
    start: Tensor,
    vectors: Vectors,
    steps: int,
    rate: float | Callable[[int], float],
    *,
    seed: int = 0,
    pulses: Pulses | None = None,
    read_out: ReadOut | None = None,
) -> Iterator[tuple[int, State]]:
    """Train relative weights (out, in) by pulses; yield the number of each step and the state.

    Args:
        algorithm: what to do.
        device: the cells.
        start: weights to begin with.
        vectors: x (n, in) and d (n, out) of a mini-batch, at visible weights (out, in).
        steps: mini-batches.
        rate: learning rate, of each step or of all.
        seed: of the cells and of all that the arrays draw.
        pulses: how gradients become pulses.
        read_out: how transfers read.
    """
    matrix = Matrix(
        "matrix", device, (start.shape[0], start.shape[1]), Stream(seed, "matrix"),
        pulses=pulses or Pulses(), read_out=read_out or ReadOut(),
    )  # fmt: skip
    state = algorithm.start(matrix, start)
    for step in range(1, steps + 1):
        samples = Samples.of(*vectors(algorithm.weight(state)))
        algorithm.step(state, samples, rate(step) if callable(rate) else rate)
        yield step, state


def blocks(values: Tensor) -> Tensor:
    """Return vectors (runs, n) as rows of a block-diagonal matrix (runs, runs n).

    With x and d of several runs in blocks, the runs share an array and no cell.
    """
    return torch.block_diag(*values[:, None])
