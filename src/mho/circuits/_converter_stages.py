"""Converters that amplify a residue: pipeline and cyclic."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ._converter import Converter, OwnNumbers, binary_bits
from ._draws import Draws


class Stages(Converter):
    """B - 1 stages of 1.5 bits and a last comparison, for B bits.

        d = [r > 1/4 + c_+] - [r < -1/4 + c_-],   r <- (1 + g) (2 r - d),   r_0 = z / 2^(B-1)
        code = sum_k d_k 2^(B-1-k) + [r > 1/2 + c_+] - [r < -1/2 + c_-]

    The digits -1, 0, 1 overlap, so that offsets c of the comparators below 1/4 change no code but
    by the last comparison (Lewis et al., IEEE JSSC 27:351, 1992); the gain of the amplifiers is
    what counts. An amplifier of open-loop gain A and feedback factor beta has g = -1 / (A beta).
    """

    gain_error: float = Field(
        default=0.0, gt=-1, description="g of every stage, relative; below 0 for finite gain."
    )
    gain_spread: float = Field(default=0.0, ge=0, description="Std of g over stages.")
    comparator_spread: float = Field(
        default=0.0, ge=0, description="Std of the comparators' offsets, over the reference."
    )

    @property
    @abstractmethod
    def reused(self) -> bool:
        """Whether one stage does the work of all."""

    def check(self, half: int) -> None:
        """The levels are binary."""
        binary_bits(half, str(self.kind))

    def draw(self, draws: Draws, half: int) -> Tensor | None:
        """Draw the gains of the stages, then two offsets for each stage and for the last."""
        if not self.gain_spread and not self.comparator_spread:
            return None
        stages = 1 if self.reused else binary_bits(half, str(self.kind)) - 1
        comparators = 2 if self.reused else 2 * (stages + 1)
        gain = 1 + self.gain_error + self.gain_spread * draws.normal("stage gains", stages)
        offsets = self.comparator_spread * draws.normal("comparators", comparators)
        return torch.cat((gain, offsets), -1)

    def nominal(self, half: int) -> Tensor:
        """Return gains and offsets without spread."""
        stages = 1 if self.reused else binary_bits(half, str(self.kind)) - 1
        comparators = 2 if self.reused else 2 * (stages + 1)
        return torch.cat((torch.full((stages,), 1 + self.gain_error), torch.zeros(comparators)))

    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """See `Converter.search`."""
        bits = binary_bits(half, str(self.kind))
        residue, code = z / 2.0 ** (bits - 1), torch.zeros_like(z)
        for k in range(bits - 1):
            digit = self._digit(residue, 0.25, k, bits, own)
            gain = own.each(0 if self.reused else k).to(z.dtype)
            residue = gain * (2 * residue - digit)
            code = 2 * code + digit
        return code + self._digit(residue, 0.5, bits - 1, bits, own)

    def _digit(self, residue: Tensor, at: float, k: int, bits: int, own: OwnNumbers) -> Tensor:
        """Compare with +-at; the pair of comparators of stage k, counted from 0."""
        first = 1 if self.reused else bits - 1 + 2 * k
        low, high = (own.each(first + side).to(residue.dtype) for side in (0, 1))
        return (residue > at + high).to(residue.dtype) - (residue < -at + low).to(residue.dtype)


class Pipeline(Stages):
    """A stage for each bit, each with its own gain and comparators; see `Stages`."""

    kind: Literal["pipeline"] = "pipeline"

    @property
    def reused(self) -> bool:
        """No."""
        return False


class Cyclic(Stages):
    """One stage, used again for each bit: the same gain and comparators; see `Stages`."""

    kind: Literal["cyclic"] = "cyclic"

    @property
    def reused(self) -> bool:
        """Yes."""
        return True
