"""What a product is made of: the weights as the arrays hold them, and the setting around them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ._effective import signal_scale
from ._geometry import Geometry
from ._hardware import Hardware

if TYPE_CHECKING:
    from ._digital import Unit


class Columns(NamedTuple):
    """What tells one physical column's read-out from another's: a chip instance's converters.

    Every field has shape (row-slices, columns), or is None where the hardware has no such spread;
    what takes several numbers for each converter has them on a last axis.
    """

    gain: Tensor | None = None
    """ADC gain, about 1."""
    offset: Tensor | None = None
    """ADC offset relative to the bound."""
    noise: Tensor | None = None
    """Output noise relative to the nominal one."""
    transfer: Tensor | None = None
    """Strength of the transfer curve, about 1, or the numbers that its `draw` gives."""
    front_end: Tensor | None = None
    """Voltage offset of the read-out."""
    drive: Tensor | None = None
    """sum_j w_ij o_j for the relative offsets o_j of the row drivers, in units of weight."""
    converter: Tensor | None = None
    """Static numbers of the converter, as its architecture draws them."""


NOMINAL = Columns()


@dataclass(frozen=True)
class Operand:
    """A weight matrix as an array sees it, in the units of the model.

    Attributes:
        weight: (columns, rows).
        scale: weight of a cell at g_max, (row-slices, columns).
        significance: digital factor of each weight slice.
        negative: the weight as read with inputs of negative polarity, if that differs.
        columns: the converters of the chip instance.
        input_range: r of each row-slice (R,), or None where the rule is not a stored one.
        clipped: see `drive`.
        bound: calibrated ADC bound, (row-slices, columns), or None.
        gain: digital correction of each output, (out,), or None.
        column_gain: digital correction of each column, (row-slices, columns), or None.
        cells: conductances (planes, out, rows) [S], where wires are found for every vector.
        unit: the digital unit's state, where its arithmetic is not the model's own; without it,
            scales are applied in the model's precision.
    """

    weight: Tensor
    scale: Tensor
    significance: tuple[float, ...] = (1.0,)
    negative: Tensor | None = None
    columns: Columns = NOMINAL
    input_range: Tensor | None = None
    clipped: Tensor | None = None
    bound: Tensor | None = None
    gain: Tensor | None = None
    column_gain: Tensor | None = None
    cells: Tensor | None = None
    unit: "Unit | None" = None

    def outputs(self, which: slice) -> "Operand":
        """Return the operand of some of the outputs."""

        def cut(values: Tensor, axis: int) -> Tensor:
            per = values.unflatten(axis, (len(self.significance), -1))
            return per[(slice(None),) * (axis + 1) + (which,)].flatten(axis, axis + 1)

        def cut_any(values: Tensor | None, axis: int) -> Tensor | None:
            return None if values is None else cut(values, axis)

        return replace(
            self,
            weight=cut(self.weight, 0),
            scale=cut(self.scale, 1),
            negative=cut_any(self.negative, 0),
            columns=Columns(*(cut_any(values, 1) for values in self.columns)),
            bound=cut_any(self.bound, 1),
            gain=None if self.gain is None else self.gain[which],
            column_gain=cut_any(self.column_gain, 1),
            cells=None if self.cells is None else self.cells[:, which],
            unit=None if self.unit is None else self.unit.outputs(which),
        )


@dataclass(frozen=True)
class Setting:
    """Everything about a product but its input.

    Attributes:
        operand: the weights and the state of the converters.
        hardware: the effects.
        geometry: how the product lies on the arrays.
        full: the drive at full scale, in DAC steps.
        hits: takes, if given, which signals of each conversion were at the ADC's bound.
    """

    operand: Operand
    hardware: Hardware
    geometry: Geometry
    full: float
    hits: list[Tensor] | None = None

    @property
    def scale(self) -> Tensor:
        """Weight times relative drive that makes a signal of 1, (row-slices, columns)."""
        return signal_scale(self.operand.scale, self.hardware, self.geometry)

    def on_columns(self, values: Tensor, like: Tensor) -> Tensor:
        """Shape a parameter (row-slices, columns) to act on a product `like`."""
        return self.geometry.on_columns(values.to(like.dtype))
