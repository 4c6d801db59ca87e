"""Reads of single cells through the converters of their columns."""

import torch
from torch import Tensor

from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Columns, ReadOut, spread_over_rows

ZEROS = 16
"""Reads of an idle column that are averaged for its zero."""


class CellReads:
    """Reads of the cells a_ij of a matrix, each row driven alone at full scale.

        y_ij = B levels(clip((c_i (a_ij + noise xi) + o_i B) / B)) - z_i

    with the gain c_i and the offset o_i of the converter of column i, B the bound of the read (1
    without one), and z_i what the idle column reads, in the mean of 16 reads, where zeros are
    taken. The converters are those that read the products, with the same bounds, but their transfer
    curves and errors of thresholds, and what drivers and wires do, are left out: the signal of one
    cell is small.
    """

    def __init__(
        self,
        read: ReadOut | None,
        crossbar: Crossbar,
        weight: Tensor,
        columns: Columns | None,
        stream: Stream,
        *,
        averages: int = 1,
        auto_zero: bool = False,
    ) -> None:
        geometry = crossbar.geometry
        self.stream, self.averages = stream, averages
        self.rows, self.count = max(geometry.partition.rows), 0
        self.read_out = read or ReadOut.of(crossbar.hardware)
        own: Tensor | None = None
        if read is None and isinstance(crossbar.hardware.adc.bound, str):
            own, half = crossbar.operand(weight).bound, crossbar.hardware.adc.half_steps
            bits = None if half is None else (2 * half + 2).bit_length() - 1
            self.read_out = self.read_out.with_fields(bits=bits, bound=1.0)

        def per_cell(values: Tensor) -> Tensor:
            return spread_over_rows(values.detach().float().cpu(), geometry)

        base = torch.ones(())
        if own is not None:
            base = per_cell(own)
        elif self.read_out.bound is not None:
            base = torch.tensor(self.read_out.bound)
        self.bound = base.expand(geometry.out, geometry.rows)
        self.levels = ReadOut(
            bits=self.read_out.bits, bound=None if self.read_out.bound is None else 1.0
        )
        gain = None if columns is None else columns.gain
        offset = None if columns is None else columns.offset
        self.gain = torch.ones(()) if gain is None else per_cell(gain)
        self.offset = torch.zeros(()) if offset is None else per_cell(offset)
        self.zero = torch.zeros(())
        if auto_zero:
            self.zero = self._mean(torch.zeros(geometry.out, geometry.rows), "zero", ZEROS)
            self.count = ZEROS

    def __call__(self, shown: Tensor, number: int) -> Tensor:
        """Return round `number` of reads of relative weights (out, rows)."""
        self.count += self.averages * self.rows
        return self._mean(shown, f"verify {number}", self.averages) - self.zero

    def _mean(self, shown: Tensor, purpose: str, reads: int) -> Tensor:
        if not self.read_out.noise:
            return self._one(shown)
        total, shape = torch.zeros(tuple(shown.shape)), tuple(shown.shape)
        for k in range(reads):
            noise = self.read_out.noise * self.stream.normal(purpose, shape, k)
            total += self._one(shown + noise)
        return total / reads

    def _one(self, signal: Tensor) -> Tensor:
        relative = self.gain * signal / self.bound + self.offset
        return self.bound * self.levels.read(relative, torch.zeros(()))
