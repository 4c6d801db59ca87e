"""Inputs as the widths of pulses of one amplitude."""

from typing import Literal

import torch
from torch import Tensor

from ._scheme import Drivers, Phase, Scheme


class PulseWidth(Scheme):
    """The DAC's code as the time for which a row is driven; the charge of a column is its sum.

    A code c drives its row at full scale for |c| of n time steps, so that each array is in one
    state between two widths that occur, and the current of each state counts with its duration:

        charge = sum_k (t_k - t_(k-1)) I(rows with |c| >= t_k),   t_k the distinct widths

    One conversion follows. Noise of the cells is white: its variance counts with the duration too.
    On an array without wires, or with passive cells, this is the product with the code itself
    (superposition); gated cells see another network in every state. A grid of time steps, as in
    IBM's aihwkit (time-stepped tile: 128 steps), has the same sum once every width is on it.
    """

    kind: Literal["pulse_width"] = "pulse_width"

    @property
    def digital_sum(self) -> bool:
        """No: charge is added."""
        return False

    @property
    def binary(self) -> bool:
        """Rows are on or off."""
        return True

    @property
    def needs_levels(self) -> bool:
        """Widths are counted in steps."""
        return True

    def phases(self, v: Tensor, full: float, drivers: Drivers) -> list[Phase]:
        """The rows that are on between two distinct widths; the last state carries the gradient."""
        code = v.detach()
        sign, width = code.sign(), code.abs()
        if torch.compiler.is_compiling() or v.is_meta:
            ends = [float(t + 1) for t in range(round(full))]
        else:
            ends = [float(t) for t in width.unique() if t > 0] or [full]
        phases, start = [], 0.0
        for end in ends:
            share = (end - start) / full
            phases.append(Phase(share, sign * (width > start) * full, False, share))
            start = end
        if torch.is_grad_enabled() and v.requires_grad:
            last = phases[-1]
            phases[-1] = last._replace(drive=last.drive + (v - code) / last.factor)
        return [phase._replace(drive=drivers(phase.drive)) for phase in phases]
