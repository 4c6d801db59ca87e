"""The digital unit beside an array: scales, offsets, partial sums."""

from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor

from ..spec import Variant


class Sums(Protocol):
    """How the partial sums of a product lie on the columns of its arrays."""

    @property
    def arrays(self) -> int:
        """Partial sums of each output: row-slices times weight slices."""
        ...

    @property
    def largest(self) -> float:
        """Bound of the magnitude of a converter's output; infinite where there is none."""
        ...

    def on_columns(self, values: Tensor) -> Tensor:
        """Shape one value per physical column (row-slices, columns) to act on a product."""
        ...

    def on_outputs(self, values: Tensor) -> Tensor:
        """Shape one value per output (out,) to act on a layer's output."""
        ...

    def total(self, y: Tensor) -> Tensor:
        """Add the partial sums of a product."""
        ...


class Constants(NamedTuple):
    """What the digital unit of a layer multiplies with and adds, in the model's units."""

    scale: Tensor
    """s of each column, (row-slices, columns)."""
    offset: Tensor
    """o of each output, (out,)."""
    step: Tensor | None
    """One output code, where outputs are codes."""


class Digital(Variant):
    """Arithmetic of the scale and offset of each column and of the sum over arrays.

        y_i = o_i + sum_k s_ik x_ik

    with the outputs x of the converters, the arrays k, and everything constant in s (scale of the
    weights, input range, ADC step, corrections) and in o (bias, corrections).
    """

    native: ClassVar[bool] = False
    """Whether it is the arithmetic of the model itself."""
    integers: ClassVar[bool] = False
    """Whether it computes with codes, to a common step of all outputs of a layer."""

    @abstractmethod
    def affine(
        self, x: Tensor, constants: Constants, sums: Sums, beyond: list[Tensor] | None = None
    ) -> Tensor:
        """Return a layer's output.

        Args:
            x: a product as the converters give it, used by nobody else.
            constants: s, o, and the step of the outputs.
            sums: how the columns of x belong to outputs.
            beyond: takes, if given, which outputs were above and which below what can be held.
        """

    def fits(self, constants: Constants, arrays: int) -> tuple[Tensor, Tensor]:
        """Tell which scales, and which offsets, the unit can hold."""
        return constants.scale.isfinite(), constants.offset.isfinite()

    def limited(self, y: Tensor, step: Tensor | None) -> Tensor:
        """Return exact outputs within what the unit's outputs can be."""
        return y

    def holds(self, step: Tensor | None, arrays: int) -> str:
        """Say which scales and offsets it can hold, and what to do about others."""
        return "look for values that are not finite"


class Float(Digital):
    """Floating point in the model's own precision."""

    kind: Literal["float"] = "float"
    native: ClassVar[bool] = True

    def affine(
        self, x: Tensor, constants: Constants, sums: Sums, beyond: list[Tensor] | None = None
    ) -> Tensor:
        """See `Digital.affine`; nothing is rounded but by floating point."""
        y = sums.total(x * sums.on_columns(constants.scale))
        return y + sums.on_outputs(constants.offset)
