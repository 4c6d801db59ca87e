"""Devices: how a memory cell answers pulses, and what differs from cell to cell for life."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from ..ops import Stream
from ..spec import Variant

if TYPE_CHECKING:
    from ._pulsed_device import PulsedDevice


class Devices(NamedTuple):
    """What differs from cell to cell, drawn once for life; float32 on the CPU, shape (out, in).

    A cell's state lies between `low` and `high`; its visible weight is its state less `reference`.
    `size_up`, `size_down` are step sizes >= 0; `shape_up`, `shape_down` are what the response makes
    of them (a slope, an exponent). `reset` is the state after a reset. `decay` is the
    share of its distance from `reset` that a state loses once per mini-batch, and `diffusion` is
    the standard deviation of what is added then; both are None where the device has no such effect.
    """

    low: Tensor
    high: Tensor
    size_up: Tensor
    size_down: Tensor
    shape_up: Tensor
    shape_down: Tensor
    reference: Tensor
    reset: Tensor
    decay: Tensor | None
    diffusion: Tensor | None


class Device(Variant):
    """How one cell of a crossbar answers pulses: a single device, or a unit cell of several.

    Weights are relative: the layer's weight matrix is a constant scale times them.
    """

    if TYPE_CHECKING:
        # Mean bounds of the visible weight: fields of single devices, derived for unit cells.
        low: Any
        high: Any

    @property
    @abstractmethod
    def granularity(self) -> float:
        """Mean size of a step of the visible weight, over both directions, at weight 0."""

    @property
    @abstractmethod
    def singles(self) -> "tuple[PulsedDevice, ...]":
        """The single devices of a cell, in order."""

    @property
    @abstractmethod
    def factors(self) -> tuple[float, ...]:
        """Factor with which each single device enters the visible weight."""

    def draw_singles(self, shape: tuple[int, int], stream: Stream) -> tuple[Devices, ...]:
        """Draw each single device of every cell of a weight matrix of `shape` (out, in).

        Draws are over the logical weight matrix, so that another partition over arrays gives each
        weight the same cell.

        Raises:
            SpecError: a cell has no symmetry point, and the device asks for its subtraction.
        """
        singles = self.singles
        if len(singles) == 1:
            return (singles[0].draw(shape, stream),)
        names = (f"{stream.tile}/device {k}" for k in range(len(singles)))
        return tuple(
            single.draw(shape, Stream(stream.seed, name))
            for single, name in zip(singles, names, strict=True)
        )
