"""What a product is made of: the weights as the arrays hold them, and the setting around them."""

from dataclasses import dataclass

from torch import Tensor

from ._geometry import Geometry
from ._hardware import Hardware


@dataclass(frozen=True)
class Columns:
    """What tells one physical column's read-out from another's: a chip instance's converters.

    Every field has shape (row-slices, columns), or is None where the hardware has no such spread.
    """

    gain: Tensor | None = None
    """ADC gain, about 1."""
    offset: Tensor | None = None
    """ADC offset relative to the bound."""
    noise: Tensor | None = None
    """Output noise relative to the nominal one."""
    transfer: Tensor | None = None
    """Strength of the transfer curve, about 1."""
    front_end: Tensor | None = None
    """Voltage offset of the read-out."""
    drive: Tensor | None = None
    """sum_j w_ij o_j for the relative offsets o_j of the row drivers, in units of weight."""


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
        bound: calibrated ADC bound, (row-slices, columns), or None.
        gain: digital correction of each output, (out,), or None.
    """

    weight: Tensor
    scale: Tensor
    significance: tuple[float, ...] = (1.0,)
    negative: Tensor | None = None
    columns: Columns = NOMINAL
    input_range: Tensor | None = None
    bound: Tensor | None = None
    gain: Tensor | None = None


@dataclass(frozen=True)
class Setting:
    """Everything about a product but its input. `full` is the drive at full scale, in DAC steps."""

    operand: Operand
    hardware: Hardware
    geometry: Geometry
    full: float

    def on_columns(self, values: Tensor, like: Tensor) -> Tensor:
        """Shape a parameter (row-slices, columns) to act on a product `like`."""
        return self.geometry.on_columns(values.to(like.dtype))
