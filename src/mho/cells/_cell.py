"""The memory cell: a range of conductance, and the laws by which it keeps what was written."""

import math
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..errors import DataError, RangeError
from ..ops import Stream
from ..spec import Siemens, Variant, format_quantity
from ._curves import check_curves
from ._device import Device
from ._drift import Drift
from ._faults import Faults, Sites
from ._programming import Programming
from ._read import Read
from ._variability import Variability

ROUNDING = 1e-6


class CellState(NamedTuple):
    """What programming leaves behind, float32 on the CPU.

    `programmed` are conductances [S]; `coefficient` is what drift keeps per cell, if it drifts.
    """

    programmed: Tensor
    coefficient: Tensor | None


class Cell(Variant):
    """One memory cell. Members only fill in these fields; every law that is none is off.

    Signed cells stand for a whole pair, where a fit exists for the pair only: conductances run from
    -g_max to g_max, and the laws act on the magnitude and keep the sign.
    """

    mappings: ClassVar[tuple[str, ...] | None] = None
    """Kinds of mapping that write only what the cell can hold; None where it holds anything."""

    g_min: Siemens = Field(
        default=0.0, ge=0, description="Smallest conductance a target may have [S]."
    )
    g_max: Siemens = Field(gt=0, description="Largest conductance a target may have [S].")
    signed: bool = Field(
        default=False, description="Whether a cell's conductance carries the weight's sign."
    )
    bounded: bool = Field(
        default=False,
        description="Whether drift and read noise end at g_min and g_max instead of only at 0.",
    )
    programming: Programming | None = Field(default=None, description="Error of programming.")
    drift: Drift | None = Field(
        default=None, description="Change of the programmed conductance with time."
    )
    read: Read | None = Field(
        default=None, description="1/f noise accumulated until the cell is read."
    )
    faults: Faults | None = Field(default=None, description="Stuck cells.")
    variability: Variability | None = Field(
        default=None, description="Spread from device to device."
    )
    device: Device | None = Field(
        default=None,
        description="How the cell answers pulses; none: it can only be programmed.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Cell":
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min={self.g_min:g} S must be below g_max={self.g_max:g} S")
        if self.signed and self.g_min > 0:
            raise ValueError(f"a signed cell starts at 0, so g_min must be 0, got {self.g_min:g} S")
        if self.signed and self.drift is not None and not self.drift.signed:
            raise ValueError(
                "this kind of drift is a fit to unsigned conductances; set signed to false"
            )
        for law in (self.programming, self.drift, self.read):
            if law is not None:
                check_curves(law, self.g_min / self.g_max, 1.0, law.nonnegative)
        return self

    def program(self, target: Tensor, stream: Stream) -> CellState:
        """Program cells to their targets, once.

        Args:
            target: conductances [S], any shape; (planes, out, in) inside a tile.
            stream: draws of this tile.

        Raises:
            DataError: a target is not finite, or there is none.
            RangeError: a target lies outside of the cell's range.
        """
        target = self._checked(target)
        shape = tuple(target.shape)
        programmed, coefficient = target, None
        if self.programming is not None:
            xi = stream.normal("programming", shape)
            programmed = self.programming.program(target, self.g_max, xi)
        if self.drift is not None:
            coefficient = self.drift.coefficient(
                target.abs(), self.g_max, stream.normal("drift", shape)
            )
        return CellState(self.possible(programmed), coefficient)

    def hold(self, conductance: Tensor, stream: Stream) -> CellState:
        """Return cells that hold conductances [S] as they are, by whatever they were written.

        What drift keeps of a cell is drawn as `program` draws it, for the conductance that the cell
        has, or the end of its range where it lies beyond.

        Args:
            conductance: (planes, out, in), as an array holds them.
            stream: draws of this tile.

        Raises:
            DataError: a conductance is not finite.
        """
        held = conductance.detach().to("cpu", torch.float32).contiguous()
        if not bool(torch.isfinite(held).all()):
            raise DataError("conductances of written cells must be finite")
        held, coefficient = self.possible(held), None
        if self.drift is not None:
            xi = stream.normal("drift", tuple(held.shape))
            coefficient = self.drift.coefficient(
                held.abs().clamp(self.g_min, self.g_max), self.g_max, xi
            )
        return CellState(held, coefficient)

    def possible(self, conductance: Tensor) -> Tensor:
        """Return conductances that cells can have: never below 0, unless they carry a sign."""
        return conductance if self.signed else conductance.clamp(min=0.0)

    def conductance(
        self, state: CellState, seconds: float, stream: Stream, sites: Sites | None = None
    ) -> Tensor:
        """Return the conductances [S], float32 on the CPU, `seconds` after programming.

        A pure function of its arguments: asked twice it answers the same, and time may run
        backwards. At 0 s nothing has drifted, but 1/f noise is there where the model has it.

        Args:
            state: what `program` returned.
            seconds: time since programming.
            stream: draws of this tile, the same as in `program`.
            sites: physical positions, needed where faults come from a map.

        Raises:
            RangeError: the time is negative or not finite, or drift has no meaning at it.
            DataError: the state has no drift coefficients, or a fault map does not fit.
        """
        seconds = _time(seconds)
        programmed = state.programmed.detach().to("cpu", torch.float32).contiguous()
        magnitude = programmed.abs()
        g = self._drifted(magnitude, state.coefficient, seconds, stream)
        if self.read is not None:
            std = self.read.std(magnitude, g, seconds, self.g_max)
            g = g + std * stream.normal("read", tuple(g.shape), seconds)
        low, high = (self.g_min, self.g_max) if self.bounded and seconds > 0 else (0.0, math.inf)
        g = g.clamp(low, high)
        return self.found(torch.copysign(g, programmed) if self.signed else g, stream, sites)

    def found(self, conductance: Tensor, stream: Stream, sites: Sites | None = None) -> Tensor:
        """Return conductances [S] as the devices of an array make them: spread, and stuck cells."""
        g = conductance
        if self.variability is not None:
            g = self.variability.apply(g, stream)
        if self.faults is not None:
            g = self.faults.apply(g, stream, self.g_min, self.g_max, self.signed, sites)
        return g

    def drifted(self, state: CellState, seconds: float, stream: Stream) -> Tensor:
        """Return the conductances [S] after drift alone, without what only reading adds.

        Args:
            state: what `program` or `hold` returned.
            seconds: time since then.
            stream: the same as there.

        Raises:
            RangeError: the time is negative or not finite, or drift has no meaning at it.
        """
        seconds = _time(seconds)
        g = self._drifted(state.programmed.abs(), state.coefficient, seconds, stream)
        if self.bounded and seconds > 0:
            g = g.clamp(self.g_min, self.g_max)
        return torch.copysign(g, state.programmed) if self.signed else g

    def _drifted(
        self, programmed: Tensor, coefficient: Tensor | None, seconds: float, stream: Stream
    ) -> Tensor:
        if self.drift is None or seconds == 0:
            return programmed
        if coefficient is None:
            raise DataError(
                "the state has no drift coefficients: it was programmed by a cell without drift"
            )
        coefficient = coefficient.detach().to("cpu", torch.float32).contiguous()
        shape = tuple(programmed.shape)

        def draw() -> Tensor:
            return stream.normal("drift at", shape, seconds)

        g = self.drift.apply(programmed, coefficient, seconds, self.g_max, draw)
        return g.clamp(min=0.0)  # a fit may shift a small conductance below zero, where no cell is

    def _checked(self, target: Tensor) -> Tensor:
        target = target.detach().to("cpu", torch.float32).contiguous()
        if target.numel() == 0:
            raise DataError("there are no target conductances to program")
        if not torch.isfinite(target).all():
            raise DataError(
                "target conductances must be finite; look for nan or inf in the weights"
            )
        low, high = -self.g_max if self.signed else self.g_min, self.g_max
        least, most = float(target.min()), float(target.max())
        too_low, too_high = least < low - ROUNDING * high, most > high * (1 + ROUNDING)
        if too_low or too_high:
            value = float(f"{least if too_low else most:.6g}")  # 1 uS, not float32's 1000 nS
            raise RangeError(
                f"target conductance {format_quantity(value, 'S')} is outside of "
                f"{format_quantity(low, 'S')} to {format_quantity(high, 'S')}; rescale the weights "
                "or change g_min, g_max"
            )
        return target.clamp(low, high)


def _time(seconds: float) -> float:
    value = float(seconds)
    if not math.isfinite(value) or value < 0:
        raise RangeError(f"time {seconds!r} s must be finite and at least 0 s (since programming)")
    return value + 0.0  # turns -0.0 into the 0.0 that draws are keyed by
