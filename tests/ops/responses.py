"""Every response with its literal oracle, and small arrays of its cells under trains."""

from typing import NamedTuple

import numpy as np
import torch

from cells import test_devices
from cells.device_suite import DeviceSuite, numbers
from mho.cells import PulsedDevice
from mho.ops import PulsedCells, Stream, Trains
from oracles import devices as oracles

# The suites of single devices name each response's oracle: a new response is found here.
SUITES: list[type[DeviceSuite]] = [
    value
    for name, value in vars(test_devices).items()
    if name.startswith("Test") and issubclass(value, DeviceSuite)
]
NAMES = [suite.__name__.removeprefix("Test") for suite in SUITES]
KEY = (0x89ABCDEF, 3)
STEP = 5


class Case(NamedTuple):
    """Cells with all their spreads, stuck ones among them, and trains of some samples."""

    device: PulsedDevice
    cells: PulsedCells
    trains: Trains
    numbers: oracles.Cell

    def fresh(self) -> PulsedCells:
        """Cells to move; they are moved in place."""
        return self.cells._replace(state=self.cells.state.clone())

    def counters(self) -> tuple[torch.Tensor, torch.Tensor]:
        zeros = torch.zeros(self.cells.state.shape, dtype=torch.int32)
        return zeros, zeros.clone()


def case(suite: type[DeviceSuite], shape=(5, 14), n=6, sparse=3, seed=0) -> Case:
    """Cells anywhere between their bounds; a bit is set with probability 2^-sparse."""
    g = torch.Generator().manual_seed(seed)
    drawn = suite.device.draw(shape, Stream(seed, "kernels"))
    out, rows = shape
    state = drawn.low + (drawn.high - drawn.low) * torch.rand(shape, generator=g)

    def words(lines):
        draws = torch.randint(0, 2**31 - 1, (sparse, n, lines), generator=g)
        return torch.from_numpy(np.bitwise_and.reduce(draws.numpy())).int()

    flags = [torch.rand(n, lines, generator=g) < 0.5 for lines in (rows, out)]
    trains = Trains(words(rows), flags[0], words(out), flags[1])
    return Case(suite.device, PulsedCells(state, *drawn[:6]), trains, numbers(drawn))


def rounding(given: Case, pulses: np.ndarray) -> np.ndarray:
    """What single precision may do to the states: each pulse rounds the state and its step.

    A step is a dozen operations, of which logarithms and exponentials of numbers up to 20 count as
    that many.
    """
    eps = float(np.finfo(np.float32).eps)
    size = np.maximum(given.numbers.s_up, given.numbers.s_down)
    span = np.maximum(np.abs(given.numbers.bmin), np.abs(given.numbers.bmax))
    return eps * (pulses + 1) * (2 * span + 40 * size)
