"""How an ADC finds the code of a signal: the family of architectures."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ..spec import Variant
from ._draws import Draws


class OwnNumbers(NamedTuple):
    """The static numbers of converters, and which of them converts each signal."""

    values: Tensor
    """(converters, numbers)."""
    index: Tensor
    """Converter of each signal, broadcastable to the signals."""

    def each(self, k: int) -> Tensor:
        """Return the number k of every signal's converter."""
        return self.values[:, k][self.index]

    def below(self, z: Tensor, count: int) -> Tensor:
        """Return how many of the first `count` numbers, which ascend, are below each signal.

        By bisection, in log2(count) passes over the signals.
        """
        bits = count.bit_length()
        # Filled up with infinities: then no position is beyond the end of a converter's row.
        room = self.values.new_full((len(self.values), 2**bits - 1 - count), torch.inf)
        flat = torch.cat((self.values[:, :count], room), 1).to(z.dtype)
        start = self.index * flat.shape[1] - 1
        flat, position = flat.flatten(), torch.zeros_like(z, dtype=torch.int64)
        for bit in reversed(range(bits)):
            further = position + 2**bit
            position = torch.where(flat[start + further] < z, further, position)
        return position


class Converter(Variant):
    """An architecture: how it finds codes, and what it gets wrong.

    Signals z are in steps, with the level of code 0 at 0 and 2n + 1 levels -n ... n. Without
    errors, every architecture but a counter rounds to nearest. A binary one has the code
    -(n + 1) too, which is read as -n, so that the levels are those of any other ADC. The digital
    side knows of no errors: the value of a code is its number of steps.
    """

    noise: float = Field(
        default=0.0,
        ge=0,
        description="Thermal noise of each conversion, std in steps, drawn anew every time.",
    )

    def check(self, half: int) -> None:
        """Raise ValueError if the architecture cannot have levels -half ... half."""

    def draw(self, draws: Draws, half: int) -> Tensor | None:
        """Draw the static numbers of each converter of a chip, (row-slices, columns, numbers).

        None where all converters are nominal.
        """
        return None

    @abstractmethod
    def nominal(self, half: int) -> Tensor:
        """Return the static numbers of a converter without spread, (numbers,)."""

    @abstractmethod
    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """Return codes, which may yet exceed the levels.

        Args:
            z: signals in steps, without gradient.
            half: n, the levels on each side of zero.
            own: the static numbers.
        """

    def codes(self, z: Tensor, half: int, own: OwnNumbers | None) -> Tensor:
        """Return codes -half ... half as numbers of the type of z.

        Args:
            z: signals in steps, without gradient.
            half: n, the levels on each side of zero.
            own: the static numbers of a chip's converters, or None for nominal ones.
        """
        if own is None:
            values = self.nominal(half).to(z.device, z.dtype)
            own = OwnNumbers(values[None], torch.zeros((), dtype=torch.int64, device=z.device))
        return self.search(z, half, own).to(z.dtype).clamp(-half, half)


def binary_bits(half: int, kind: str) -> int:
    """Return the B with half = 2^(B-1) - 1, or raise ValueError."""
    if (half + 1).bit_count() != 1:
        raise ValueError(
            f"a {kind} converter has 2^bits codes: give `bits` instead of {2 * half} steps"
        )
    return (half + 1).bit_length()
