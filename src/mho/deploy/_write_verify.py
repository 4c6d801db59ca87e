"""Write and verify: pulses until a read of the cell is near enough to its target."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Programmed, ReadOut
from ._cell_reads import CellReads
from ._progress import progress
from ._writing import PulsedMethod, Writing


class WriteVerify(PulsedMethod):
    """Cells are read, compared and pulsed, again and again.

        y_k = mean of `averages` reads,   e_k = target - y_k,   pulses where |e_k| > tolerance

    until all cells read as within the tolerance, or for `iterations`. Targets, reads and tolerance
    are in units of full scale, g_max. What is fixed in an array, stuck cells and the spread of
    conductances, shows in the reads and so is corrected where it can be.

    Pulses on the cell's device, after a reset, go up if e > 0, else down, and are

        n_k = max(1, floor(approach |e_k| f / s(y_k)))

    with the devices' spreads, cycle and write noise; the law `cell.programming` plays no part.
    f = fill x (bound of the mean cell) is the relative weight that stands for g_max, s the step
    that the mean cell makes at the weight that was read, all that a controller can know. The cells
    of chip instance `seed` are those on which `mho.attach` with that seed trains plain pulsed SGD.

    With `pulse: {}`, a pulse sets a device's conductance by its amplitude (see `mho.OneShot`). The
    first one aims at the target, those that follow at approach x e beside the one before.

    Reads go through the converters of the columns, with their gains and offsets, each row driven
    alone at full scale. The gain of a column is then in its products too and so does no harm; an
    offset is taken for a weight of every cell. The levels of a converter that is made for the sum
    of a column are coarse for a single cell.

    Equal constant steps s that start far below the target and overshoot by no burst end uniformly
    distributed over the last step before the tolerance is reached, target - y in (tolerance - s,
    tolerance] where s <= 2 tolerance: mean tolerance - s / 2, standard deviation s / sqrt(12).
    With s = 2 tolerance it is uniform within the tolerance. Larger steps jump over the window, and
    noise of a pulse or a write adds to the error in quadrature.

    Source: N. Papandreou et al., ISCAS 2011, "Programming algorithms for multilevel phase-change
    memory", for the loop, with either kind of pulses; V. Joshi et al., Nat. Commun. 11:2473 (2020),
    Methods, for its use with neural networks.
    """

    kind: Literal["write_verify"] = "write_verify"
    tolerance: float | None = Field(
        default=None, gt=0, lt=1,
        description="Largest accepted distance of a read from its target, in units of full scale. "
        "None: one step of the mean cell.",
    )  # fmt: skip
    read: ReadOut | None = Field(
        default=None,
        description="Noise, levels and bound of a read, in units of full scale. None: what the "
        "hardware's converters and noise make of the read of a single cell.",
    )
    averages: int = Field(
        default=1, ge=1, strict=True, description="Reads of a cell that are averaged."
    )
    column_errors: bool = Field(
        default=True,
        description="Whether reads have the gains and offsets of the columns' own converters "
        "(adc.gain_spread, adc.offset_spread); else they go through one exact converter.",
    )
    auto_zero: bool = Field(
        default=False,
        description="Whether what a column reads with no row driven is subtracted.",
    )

    def write(self, weight: Tensor, crossbar: Crossbar, stream: Stream) -> tuple[Programmed, Any]:
        """See `ProgrammingMethod.write`."""
        writing = Writing(self, weight, crossbar, stream, self.tolerance)
        columns = None
        if self.column_errors:
            columns = writing.present(writing.cells.conductance, writing.plain).columns
        reads = CellReads(
            self.read, crossbar, weight, columns, stream,
            averages=self.averages, auto_zero=self.auto_zero,
        )  # fmt: skip
        for number in progress(range(self.iterations + 1), f"writing {stream.tile}"):
            error = writing.target - reads(writing.shown(writing.cells.conductance), number)
            outside = error.abs() > writing.tolerance
            writing.note(outside)
            if number == self.iterations or not bool(outside.any()):
                break
            writing.pulse(torch.where(outside, error, 0.0), self.approach)
        return writing.done(), writing.report(reads.count)
