"""Loaded lines: columns that settle at a mean of their input voltages."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from ..ops import check_columns
from ..spec import Siemens
from ._adc import ADC
from ._combine import Column, Combine, currents_only
from ._dac import DAC
from ._noise import Noise
from ._wires import ColumnDrop, WireNetwork, Wires


class VoltageMean(Combine):
    """Columns without a virtual ground, which settle at the weighted mean of their inputs.

        V = sum_i G_i v_i / (sum_i G_i + G_load),   signal = V+ - V-

    in units of the full drive: a dot product that each column normalizes by its own conductance.
    Without a gain, every signal has its own converter and the digital side multiplies by
    full_scale = (N G_mid + G_load) / (G_max - G_min), at which columns of N cells with the mid
    conductance in the mean give the dot product itself. With a gain, a difference amplifier reads
    each pair of columns and the P row-slices of a layer meet on one node, so that

        output = gain mean_p (V+_p - V-_p)

    times the scale of the weights and the range of the inputs, with no converter in between: the
    fully analog chain. An analog sigmoid neuron is `torch.nn.Sigmoid` behind it, the gain its
    slope; offsets and gain errors of amplifiers are the spreads of `adc`, their rails its bound.
    With wires, V is the solution of the whole network with its loads.

    Source: M. H. Amin et al., ISCAS 2022, arXiv 2201.12480 (the chain), and the netlists of its
    simulator IMAC-Sim (lines without a virtual ground). The amplifier is ideal but for what is said
    here: `load` is a conductance to ground on every column.
    """

    kind: Literal["voltage_mean"] = "voltage_mean"
    load: Siemens = Field(
        default=0.0, ge=0, description="Conductance to ground at the foot of each column [S]."
    )
    gain: float | None = Field(
        default=None, gt=0,
        description="Gain of the amplifiers, whose outputs are averaged over row-slices. None: "
        "each signal is converted and summed digitally.",
    )  # fmt: skip

    @property
    def analog_sum(self) -> bool:
        """With amplifiers."""
        return self.gain is not None

    def effective(self, g: Tensor, wires: Wires | None, column: Column) -> Tensor:
        """See `Combine.effective`."""
        if wires is None:
            total = g.sum(-1, keepdim=True) + self.load
            check_columns(total)
            voltages = g / total
        else:
            assert isinstance(wires, WireNetwork)  # `misfit` refuses others
            voltages = wires.voltages(g, self.load)
        return voltages * (self.full_scale(column) * (column.high - column.low))

    def full_scale(self, column: Column) -> float:
        """See the class."""
        if self.gain is not None:
            return self.gain / column.parts
        whole = column.rows * (column.low + column.high) / 2 + self.load
        return whole / (column.high - column.low)

    def misfit(self, wires: Wires | None, dac: DAC, adc: ADC, noise: Noise) -> str | None:
        """What is averaged is analog, and has no levels."""
        if isinstance(wires, ColumnDrop) or (wires is not None and wires.per_vector):
            return (
                f"these wires of kind {wires.kind!r} end in a virtual ground: give a network of "  # pyright: ignore
                "passive cells, such as {kind: resistive, row: 1 ohm, column: 1 ohm}"
            )
        if self.analog_sum and (adc.half_steps is not None or adc.overflow == "retry"):
            return (
                "with a gain, partial sums are averaged before any converter: leave out the levels "
                "of adc and retries, or leave out the gain"
            )
        if self.analog_sum and dac.scheme.digital_sum:
            return "with a gain, nothing is summed digitally: give a scheme of one conversion"
        return currents_only(noise, adc)

    def cells_misfit(self, low: float, complementary: bool) -> str | None:
        """A line needs something to define its voltage."""
        if low <= 0 and self.load <= 0:
            return (
                "a column of cells at 0 S has no voltage: give the cell a g_min above 0, or "
                "array.combine a load"
            )
        return None
