"""Pulses that set a conductance at once, and the cells of a matrix that get them."""

import torch
from pydantic import Field
from torch import Tensor

from ..cells import Cell
from ..mapping import Mapping
from ..ops import Stream
from ..spec import Spec
from ._written_cells import WrittenCells


class OneShot(Spec):
    """Pulses whose amplitude sets the conductance, whatever it was before.

        g <- max((1 + spread zeta) a + noise (P(a) - a), 0)

    a is the conductance that the amplitude stands for, in [g_min, g_max], P(a) a draw of the cell's
    programming law (a itself where it has none), zeta a standard normal number that each device
    keeps for life. Unlike the whole procedure that a programming law usually describes, a single
    pulse knows nothing of the device that it hits: `noise` above 1 and a `spread` stand for that.

    A reconstruction: that partial-SET and partial-RESET pulses of adapted amplitude lead to any
    conductance is due to N. Papandreou et al., ISCAS 2011; the law of amplitudes in J. Buechel et
    al., IEDM 2022 (arXiv 2305.16647), is not published in numbers.
    """

    noise: float = Field(
        default=1.0, ge=0,
        description="Error of a pulse, as a multiple of that of the cell's programming law.",
    )  # fmt: skip
    spread: float = Field(
        default=0.0, ge=0,
        description="Relative spread over devices of the conductance that an amplitude sets.",
    )  # fmt: skip


class OneShotCells(WrittenCells):
    """Cells whose devices all get a first pulse for the target, and then corrected ones.

    The controller's memory is the weight c that the amplitudes of a cell stand for. It sets
    c <- clip(c + share e, -1, 1) and pulses those devices whose amplitude this changes, or, where
    there is none, the one of the largest amplitude again.
    """

    step = None
    full = 1.0

    def __init__(
        self, pulse: OneShot, target: Tensor, cell: Cell, mapping: Mapping, stream: Stream
    ) -> None:
        self.law, self.cell, self.mapping, self.stream = pulse, cell, mapping, stream
        self.wanted, self.rounds = target.clone(), 0
        self.amplitude = mapping.encode(target, cell.g_min, cell.g_max)
        shape = tuple(self.amplitude.shape)
        self.gain = 1 + pulse.spread * stream.normal("one-shot spread", shape)
        self.up = torch.ones(shape, dtype=torch.int64)
        self.down = torch.zeros(shape, dtype=torch.int64)
        self.g = self._set(torch.zeros_like(self.amplitude), self.up > 0)

    @property
    def first(self) -> Tensor:
        """One pulse for each device."""
        return torch.full(tuple(self.wanted.shape), self.mapping.planes, dtype=torch.int64)

    @property
    def conductance(self) -> Tensor:
        """See `WrittenCells.conductance`."""
        return self.g

    def pulse(self, error: Tensor, target: Tensor, share: float) -> Tensor:
        """See `WrittenCells.pulse`."""
        self.wanted = (self.wanted + share * error).clamp(-1.0, 1.0)
        new = self.mapping.encode(self.wanted, self.cell.g_min, self.cell.g_max)
        change = torch.where(error != 0, new - self.amplitude, 0.0)
        # Where clip() leaves nothing to change, the device that holds the weight is tried again.
        same = (error != 0) & (change == 0).all(0)
        hit = (change != 0) | (same & (new == new.amax(0)))
        self.amplitude = torch.where(hit, new, self.amplitude)
        self.g = self._set(self.g, hit)
        self.up += hit & (change >= 0)
        self.down += hit & (change < 0)
        return hit.sum(0)

    def _set(self, g: Tensor, hit: Tensor) -> Tensor:
        a, cell = self.amplitude, self.cell
        error = torch.zeros(())
        if cell.programming is not None and self.law.noise:
            xi = self.stream.normal("one-shot", tuple(a.shape), self.rounds)
            error = self.law.noise * (cell.programming.program(a, cell.g_max, xi) - a)
        self.rounds += 1
        return torch.where(hit, cell.possible(self.gain * a + error), g)

    def ends(self) -> tuple[Tensor, Tensor]:
        """See `WrittenCells.ends`; errors of pulses are not counted."""
        one = torch.ones_like(self.wanted)
        low, high = (
            self.cell.possible(self.gain * self.mapping.encode(w, self.cell.g_min, self.cell.g_max))
            for w in (-one, one)
        )
        return low, high
