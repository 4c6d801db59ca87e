"""What a training does to the weights on their way to the arrays, and to the converters."""

from dataclasses import replace

import torch
from torch import Tensor

from ..nn import Crossbar
from ..tiles import Operand, spread_over_rows
from ._adaptation import Adaptation
from ._conductances import disturbed
from ._converters import Converters, Draws


class WeightModifier:
    """The weight effects and converters of an adaptation; one object for all crossbars of a model.

    Attributes:
        adaptation: the value.
        strength: factor of the schedule on noise; a tensor, so that its change compiles nothing
            anew.
    """

    def __init__(self, adaptation: Adaptation) -> None:
        self.adaptation = adaptation
        self.strength = torch.tensor(adaptation.schedule.strength(0))
        which = adaptation.converters
        self.converters = None if which is None else Converters(which)

    @property
    def disturbs(self) -> bool:
        """See `Modifier`."""
        return self.adaptation.disturbs

    @property
    def per_sample(self) -> bool:
        """See `Modifier`."""
        return self.adaptation.per == "sample"

    def quantized(self, weight: Tensor, crossbar: Crossbar) -> Tensor:
        """See `Modifier`."""
        rule = self.adaptation.quantization
        if rule is None:
            return weight
        scale = crossbar.column_scale(weight)
        return rule.apply(weight, spread_over_rows(scale, crossbar.geometry))

    def disturbed(self, operand: Operand, weight: Tensor, crossbar: Crossbar) -> Operand:
        """See `Modifier`."""
        adaptation = self.adaptation
        if adaptation.noise is not None:
            held = adaptation.noise.disturb(operand, weight, crossbar, self.strength)
            operand = replace(operand, weight=held)
        if adaptation.faults is not None:
            operand = replace(operand, weight=self._with_faults(operand, weight, crossbar))
        if adaptation.drop_connect:
            kept = torch.rand_like(operand.weight) >= adaptation.drop_connect
            operand = replace(operand, weight=operand.weight * kept)
        if self.converters is not None:
            columns = self.converters.columns(crossbar, operand.weight.device)
            operand = replace(operand, columns=columns)
        return operand

    def _with_faults(self, operand: Operand, weight: Tensor, crossbar: Crossbar) -> Tensor:
        """Stuck cells replace what was written to them, its noise included."""
        cell, faults = crossbar.hardware.cell, self.adaptation.faults
        assert faults is not None
        draws, significance = Draws(weight.device), crossbar.hardware.mapping.significance
        slices = operand.weight.detach().unflatten(0, (len(significance), -1))
        written = sum(factor * part for factor, part in zip(significance, slices, strict=True))
        if crossbar.hardware.array_acts:  # what arrays compute with is not what was written
            written = weight

        def stick(target: Tensor) -> Tensor:
            return faults.apply(target, draws, cell.g_min, cell.g_max, cell.signed)  # pyright: ignore

        return disturbed(operand, written, crossbar, cell, stick)  # pyright: ignore
