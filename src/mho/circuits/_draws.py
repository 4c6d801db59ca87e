"""What a circuit is told of the chip on which it draws the errors of each converter."""

from typing import Literal, Protocol

from torch import Tensor


class Draws(Protocol):
    """Random numbers for the converters of one weight matrix.

    Columns that share a converter get the same numbers. Results are (row-slices, columns, ...).
    """

    def normal(self, purpose: str, *size: int, per: int | Literal["array"] | None = None) -> Tensor:
        """Return standard normal numbers, `size` of them for each converter.

        Args:
            purpose: name of the stream.
            size: further axes.
            per: columns that share the numbers, or all of an array, if not those of one converter.
        """
        ...

    def uniform(self, purpose: str) -> Tensor:
        """Return a number in [0, 1) for each converter."""
        ...

    def position(self) -> Tensor:
        """Return the number of each column's converter within its array, from 0."""
        ...
