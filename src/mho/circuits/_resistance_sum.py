"""Resistances in series: strings of binary cells that are read by their delay."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..errors import DataError
from ..spec import Farads, Ohms, Seconds
from ._adc import ADC
from ._combine import Column, Combine, currents_only
from ._dac import DAC
from ._noise import Noise
from ._wires import Wires


class ResistanceSum(Combine):
    """A column of binary cells in series, of which each adds the resistance that its input selects.

    A cell has two paths, each of a junction and a transistor, R = 1 / G + on_resistance. The input
    +1 opens the first one and -1 the second. The junctions are in opposite states, so that the
    selected resistance is R_low where input and weight agree (XNOR) and R_high where not. With
    n of N rows that agree,

        R_column = n R_low + (N - n) R_high,   2 n - N = (N (R_low + R_high) - 2 R_column) / dR

    and dR = R_high - R_low. The signal is 2 n - N. For cells as they are it stays linear in the
    inputs: with R+ and R- of the two paths, w' = (R- - R+) / dR, and their common part adds
    (R_low + R_high - R+ - R-) / dR to the column, whatever the input.

    The column discharges a capacitor to the share `threshold`; the delay
    C R_column ln(1 / threshold) is read by a time-to-digital converter, whose levels are those of
    `adc` and whose jitter is noise of 2 jitter / (C dR ln(1 / threshold)) on the signal.

    Source: S. Jung et al., Nature 601:211-216 (2022), doi:10.1038/s41586-021-04196-6.
    """

    kind: Literal["resistance_sum"] = "resistance_sum"
    on_resistance: Ohms = Field(
        default=0.0, ge=0, description="Resistance of the open transistor of a path [ohm]."
    )
    capacitance: Farads = Field(
        default=100e-15, gt=0, description="Capacitor that the column discharges [F]."
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Share of its voltage at which the delay ends."
    )
    jitter: Seconds = Field(
        default=0.0, ge=0, description="Std of a delay from read to read, random [s]."
    )

    def effective(self, g: Tensor, wires: Wires | None, column: Column) -> Tensor:
        """Straight line through (R_low, high) and (R_high, low); see `Combine.effective`."""
        unknown = torch.compiler.is_compiling() or g.is_meta
        if not unknown and not bool((g.detach() > 0).all()):
            raise DataError(
                "a cell of no conductance cuts its column: its errors must leave every cell a "
                "conductance above 0"
            )
        least, most = self._ends(column)
        resistance = 1 / g + self.on_resistance
        return column.low + (column.high - column.low) * (most - resistance) / (most - least)

    def offset(self, effective: Tensor, column: Column) -> Tensor | None:
        """Return the sum of the cells' common parts; see `Combine.offset`."""
        excess = effective.sum(-3) - (column.low + column.high)
        return excess.sum(-1) / (column.high - column.low)

    def noise(self, column: Column) -> float:
        """Jitter over the change of delay for a signal of 1."""
        least, most = self._ends(column)
        return self.jitter / (0.5 * (most - least) * self._per_ohm)

    def resistance(self, g: Tensor, inputs: Tensor) -> Tensor:
        """Return the resistance of columns [ohm], (vectors, columns).

        Args:
            g: conductances (2, columns, rows) of the junctions of both paths [S].
            inputs: +1 or -1, (vectors, rows).
        """
        first, second = 1 / g + self.on_resistance
        open_path = torch.where(inputs[:, None, :] > 0, first, second)
        return open_path.sum(-1)

    def delay(self, resistance: Tensor) -> Tensor:
        """Return delays [s] of columns of some resistance [ohm]."""
        return self._per_ohm * resistance

    @property
    def _per_ohm(self) -> float:
        return self.capacitance * math.log(1 / self.threshold)

    def _ends(self, column: Column) -> tuple[float, float]:
        return 1 / column.high + self.on_resistance, 1 / column.low + self.on_resistance

    def misfit(self, wires: Wires | None, dac: DAC, adc: ADC, noise: Noise) -> str | None:
        """Inputs are binary, and wires are no different from transistors."""
        if wires is not None:
            return "wires are in series with the cells: count them in array.combine.on_resistance"
        if dac.bits != 1 or dac.scheme.kind != "one_pass" or noise.input:  # pyright: ignore
            return "each input selects one of two paths: give `dac.bits: 1`, one pass, no noise"
        if dac.gain_spread or dac.offset_spread or dac.asymmetry:
            return "an input only selects a path: leave out the spreads of the DAC"
        return currents_only(noise, adc)

    def cells_misfit(self, low: float, complementary: bool) -> str | None:
        """Two paths a cell, none of which is cut."""
        if not complementary:
            return "a cell has two complementary paths: give `mapping: binary`"
        if low <= 0:
            return "a cell of no conductance cuts the column: give the cell a g_min above 0"
        return None
