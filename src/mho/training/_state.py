"""What an in-memory training keeps of one weight matrix: its arrays and the numbers beside them."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..cells import Device
from ..errors import CheckpointError, SpecError
from ..ops import Stream
from ..tiles import DeviceArray, Pulses, ReadOut, Samples
from ._parallel import Parallel


@dataclass(frozen=True)
class Matrix:
    """What an algorithm is told about a weight matrix W = scale w.

    Attributes:
        name: of the weight, for messages.
        device: how a cell answers pulses; None if the hardware does not say.
        shape: (out, in).
        stream: named random numbers of this matrix.
        scale: the weight that a relative weight of 1 stands for, for life.
        pulses: how gradients become pulses.
        read_out: how a transfer reads a column.
        place: where the tensors are.
    """

    name: str
    device: Device | None
    shape: tuple[int, int]
    stream: Stream
    scale: float = 1.0
    pulses: Pulses = field(default_factory=Pulses)
    read_out: ReadOut = field(default_factory=ReadOut)
    place: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def array(self, name: str, device: Device | None = None) -> DeviceArray:
        """Return a new array of this shape.

        Args:
            name: of the array, which tells its random numbers from those of others.
            device: its cells, if not the hardware's.

        Raises:
            SpecError: nobody says what the cells are.
        """
        device = device or self.device
        if device is None:
            raise SpecError(
                f"{self.name}: its hardware does not say how a cell answers pulses: give "
                "`cell: {device: ...}`, such as {kind: soft_bounds, step: 0.001}, or load a preset "
                "of a device."
            )
        stream = Stream(self.stream.seed, f"{self.stream.tile}/{name}")
        return DeviceArray(device, self.shape, stream, target=self.place)


@dataclass
class State:
    """The hidden state of one weight matrix in training.

    Attributes:
        matrix: what stays the same.
        arrays: the arrays by name.
        tensors: digital numbers of the size of a matrix, a row or a column, by name.
        numbers: digital single numbers by name.
        step: optimizer steps made.
        cut: share of the cells that could not take the weight that training began with.
        rate: of the last pulsed gradient, on the first of the arrays.
        parallel: the other processes that train the same arrays.
    """

    matrix: Matrix
    arrays: dict[str, DeviceArray] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    step: int = 0
    cut: float = 0.0
    rate: float = 0.0
    parallel: Parallel | None = None

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Return standard normal numbers of this step; the same for the same purpose."""
        return self.matrix.stream.normal(purpose, shape, self.step).to(self.matrix.place)

    def uniform(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Return uniform numbers in [0, 1) of this step; the same for the same purpose."""
        return self.matrix.stream.uniform(purpose, shape, self.step).to(self.matrix.place)

    def gradient(self, samples: Samples) -> Tensor:
        """Return sum_n d_n x_n^T over the vectors of all processes."""
        total = samples.gradient()
        if total is None:
            total = torch.zeros(self.matrix.shape, device=self.matrix.place)
        if self.parallel is not None:
            self.parallel.add(total)
        return total

    def largest(self, samples: Samples) -> tuple[float, float]:
        """Return max|x| and max|d| over the vectors of all processes."""
        x, d = samples.largest()
        if self.parallel is not None:
            x, d = self.parallel.most((x, d), self.matrix.place)
        return x, d

    def zeros(self, name: str, *shape: int) -> None:
        """Make a digital tensor of zeros, of the matrix's shape unless one is given."""
        self.tensors[name] = torch.zeros(shape or self.matrix.shape, device=self.matrix.place)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as copies."""
        return {
            "step": self.step,
            "scale": self.matrix.scale,
            "numbers": dict(self.numbers),
            "tensors": {name: tensor.clone() for name, tensor in self.tensors.items()},
            "arrays": {name: array.state_dict() for name, array in self.arrays.items()},
        }

    def check(self, stored: dict[str, Any]) -> None:
        """Raise CheckpointError if what `state_dict` returned is of another algorithm or shape."""
        for part, here in (("tensors", self.tensors), ("arrays", self.arrays)):
            if stored.get(part, {}).keys() != here.keys():
                raise CheckpointError(
                    f"{self.matrix.name}: the checkpoint has the {part} "
                    f"{sorted(stored.get(part, {}))}, the training has {sorted(here)}."
                )
        for name, tensor in self.tensors.items():
            shape = tuple(stored["tensors"][name].shape)
            if shape != tuple(tensor.shape):
                raise CheckpointError(
                    f"{self.matrix.name}: {name} is {shape} in the checkpoint and "
                    f"{tuple(tensor.shape)} here."
                )

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.check(stored)
        for name, array in self.arrays.items():
            array.load_state_dict(stored["arrays"][name])
        for name, tensor in self.tensors.items():
            tensor.copy_(stored["tensors"][name])
        self.numbers = dict(stored["numbers"])
        self.step = int(stored["step"])
        self.matrix = replace(self.matrix, scale=float(stored["scale"]))
