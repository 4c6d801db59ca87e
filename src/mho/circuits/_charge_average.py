"""Charges that are shared: the columns of capacitor ladders."""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ..spec import Farads, Volts
from ._adc import ADC
from ._combine import Column, Combine, currents_only
from ._dac import DAC
from ._noise import Noise
from ._wires import Wires

BOLTZMANN = 1.380649e-23
"""J/K, exact (SI, 2019)."""


class ChargeAverage(Combine):
    """Capacitive cells that share one line, which takes the mean of what they put out.

    N cells of output capacitance C, each of which alone would put out w_i v_i, and a line of
    capacitance C_line settle at

        signal = sum_i C w_i v_i / (N C + C_line)

    relative to the full drive. The constant full_scale = N + C_line / C is known, so the line costs
    swing and not accuracy: noise and the levels of the converter weigh more. Sampling adds noise of
    variance k T / (N C + C_line) to the voltage. Spreads of C from column to column are left out:
    ladders of mismatch s make the gain of a column spread by about 0.6 s / sqrt(N).

    Source: H. Wang et al., VLSI Technology and Circuits 2022,
    doi:10.1109/VLSITechnologyandCir46769.2022.9830322 (C-2C ladders); charge conservation; kT/C
    noise by equipartition.
    """

    kind: Literal["charge_average"] = "charge_average"
    cell_capacitance: Farads = Field(
        default=4e-15, gt=0,
        description="Output capacitance of a cell [F]; 2 C for a ladder of unit capacitors C.",
    )  # fmt: skip
    line_capacitance: Farads = Field(
        default=0.0, ge=0, description="Capacitance of the shared line to ground [F]."
    )
    full_drive: Annotated[Volts, Field(gt=0)] | None = Field(
        default=None, description="Voltage of the full drive [V]. None leaves kT/C noise out."
    )
    temperature: float = Field(default=300.0, gt=0, description="Temperature [K].")

    @property
    def plain(self) -> bool:
        """A mean of N is a sum with another unit."""
        return True

    def effective(self, g: Tensor, wires: Wires | None, column: Column) -> Tensor:
        """See `Combine.effective`."""
        return g

    def full_scale(self, column: Column) -> float:
        """N + C_line / C."""
        return column.rows + self.line_capacitance / self.cell_capacitance

    def capacitance(self, column: Column) -> float:
        """Return the capacitance of a whole column [F]."""
        return column.rows * self.cell_capacitance + self.line_capacitance

    def noise(self, column: Column) -> float:
        """sqrt(k T / C_total) over the full drive."""
        if self.full_drive is None:
            return 0.0
        return math.sqrt(BOLTZMANN * self.temperature / self.capacitance(column)) / self.full_drive

    def misfit(self, wires: Wires | None, dac: DAC, adc: ADC, noise: Noise) -> str | None:
        """Wires carry no current once charges have settled."""
        if wires is not None:
            return "charges settle whatever the wires' resistance; leave array.wires out"
        return currents_only(noise, adc)
