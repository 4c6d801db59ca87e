"""How an input vector is applied to the rows: at once, by polarity, or in slices of bits."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ..spec import Variant

Drivers = Callable[[Tensor], Tensor]


class Phase(NamedTuple):
    """One read of the array: what is driven, and its factor in the sum of the phases."""

    factor: float
    drive: Tensor
    negative: bool
    variance: float | None = None
    """Factor of the noise's variance in the sum; None is the square of the other."""


class Scheme(Variant):
    """The phases in which an input is applied, and where their results are added."""

    @property
    @abstractmethod
    def digital_sum(self) -> bool:
        """Whether each phase has its own conversion and the codes are added digitally."""

    @property
    def binary(self) -> bool:
        """Whether a row is at full drive or off in every phase."""
        return False

    @property
    def needs_levels(self) -> bool:
        """Whether inputs have to be codes."""
        return False

    @abstractmethod
    def phases(self, v: Tensor, full: float, drivers: Drivers) -> list[Phase]:
        """Split an input into reads whose drives would add to it with ideal drivers.

        Args:
            v: drives asked for, such that sum(factor * drive) = v.
            full: drive at full scale.
            drivers: turns drives asked for into actual drives.
        """


class OnePass(Scheme):
    """Both polarities at once."""

    kind: Literal["one_pass"] = "one_pass"

    @property
    def digital_sum(self) -> bool:
        """A single phase needs no sum."""
        return False

    def phases(self, v: Tensor, full: float, drivers: Drivers) -> list[Phase]:
        """The drive itself."""
        return [Phase(1.0, drivers(v), False)]


class PositiveNegative(Scheme):
    """Positive inputs first, negative inputs second, subtracted in the analog or digital domain.

    A row is driven in one of the two reads and grounded in the other, so that each row has the
    noise of its driver once.
    """

    kind: Literal["positive_negative"] = "positive_negative"
    sum: Literal["analog", "digital"] = Field(
        default="analog", description="Subtract currents before one conversion, or codes after two."
    )

    @property
    def digital_sum(self) -> bool:
        """As asked for."""
        return self.sum == "digital"

    def phases(self, v: Tensor, full: float, drivers: Drivers) -> list[Phase]:
        """max(v, 0) and max(-v, 0), the second with factor -1."""
        v = drivers(v)
        positive = v.clamp(min=0)
        # Not (-v).clamp(min=0): a code of 0 would have the gradient of both reads.
        return [Phase(1.0, positive, False), Phase(-1.0, positive - v, True)]


class BitSerial(Scheme):
    """The DAC's code in slices of bits, least significant first, added digitally (shift-and-add).

    A code c of magnitude below 2^m is sign(c) sum_k B^k d_k with B = 2^slice_bits; phase k drives
    sign(c) d_k at the amplitude at which the digit B - 1 is full scale.
    """

    kind: Literal["bit_serial"] = "bit_serial"
    slice_bits: int = Field(
        default=1, ge=1, le=8, strict=True, description="Bits of the input per phase."
    )

    @property
    def digital_sum(self) -> bool:
        """Always: the phases have different weights."""
        return True

    @property
    def binary(self) -> bool:
        """With one bit per phase."""
        return self.slice_bits == 1

    @property
    def needs_levels(self) -> bool:
        """Bits are those of a code."""
        return True

    def phases(self, v: Tensor, full: float, drivers: Drivers) -> list[Phase]:
        """The digits of the code, each scaled to full scale; the last carries the gradient."""
        base, levels = 2**self.slice_bits, round(full)
        count = -(-levels.bit_length() // self.slice_bits)
        code = v.detach()
        sign, left, phases = code.sign(), code.abs(), []
        amplitude = full / (base - 1)
        for k in range(count):
            digit = sign * left.remainder(base) * amplitude
            left = (left / base).floor()
            phases.append(Phase(base**k / amplitude, digit, False))
        if torch.is_grad_enabled() and v.requires_grad:
            last = phases[-1]
            through = (v - code) / last.factor
            phases[-1] = last._replace(drive=last.drive + through)
        return [phase._replace(drive=drivers(phase.drive)) for phase in phases]
