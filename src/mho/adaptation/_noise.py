"""Weight noise of a training: what every product is disturbed by while the model learns."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..cells import Cell
from ..nn import Crossbar
from ..ops import standard_normal_like, straight_through
from ..spec import Variant
from ..tiles import Operand, column_scale, with_noise_per_slice
from ._conductances import disturbed


class WeightNoise(Variant):
    """Noise on the weights in training mode. It has no gradient of its own.

    The products, and the gradients that they hand back, are those of the disturbed weights; the
    gradient of the weights is that of the undisturbed ones (straight through). The Parameter is
    never written. Draws come from torch's generator.
    """

    @abstractmethod
    def disturb(
        self, operand: Operand, weight: Tensor, crossbar: Crossbar, strength: Tensor
    ) -> Tensor:
        """Return disturbed weights (columns, rows).

        Args:
            operand: the weights as the arrays hold them, and their scale.
            weight: the target weights (out, rows).
            crossbar: where they are.
            strength: factor of the schedule, one number on the CPU.
        """


class AdditiveNoise(WeightNoise):
    """w + std w_max xi, with w_max the largest |w| of each column or of each whole array."""

    kind: Literal["additive"] = "additive"
    std: float = Field(gt=0, description="Standard deviation relative to the largest weight.")
    relative_to: Literal["column", "tile"] = Field(
        default="column", description="Whose largest weight: each array column's or each array's."
    )

    def disturb(
        self, operand: Operand, weight: Tensor, crossbar: Crossbar, strength: Tensor
    ) -> Tensor:
        """See the class."""
        mapping, largest = crossbar.hardware.mapping, operand.scale
        if mapping.scaling != self.relative_to:
            scale = column_scale(weight, self.relative_to, crossbar.geometry)
            largest = scale.repeat(1, len(mapping.significance))
        with torch.no_grad():
            std = (largest * (self.std * strength)).to(operand.weight.dtype)
        return with_noise_per_slice(operand.weight, std, crossbar.geometry)


class MultiplicativeNoise(WeightNoise):
    """w (1 + std xi)."""

    kind: Literal["multiplicative"] = "multiplicative"
    std: float = Field(gt=0, description="Standard deviation relative to each weight.")

    def disturb(
        self, operand: Operand, weight: Tensor, crossbar: Crossbar, strength: Tensor
    ) -> Tensor:
        """See the class."""
        held = operand.weight
        with torch.no_grad():
            noise = standard_normal_like(held).mul_(held).mul_(self.std * strength)
        return straight_through(held, noise)


class ProgrammingNoise(WeightNoise):
    """The programming error of a cell's own law, drawn anew instead of once per chip.

        g = g_T + scale (program(g_T) - g_T),   limited to g >= 0 where cells have no sign

    so that the noise of the training and that of the chips are one formula (`mho.Cell`). Weights
    are encoded as the hardware's mapping says.
    """

    kind: Literal["programming"] = "programming"
    scale: float = Field(
        default=1.0,
        gt=0,
        description="Multiplier of the error; 3 is typical for PCM (Rasch et al., 2023).",
    )
    cell: Cell | None = Field(
        default=None, description="The cell, if not that of the hardware that the model is on."
    )

    def disturb(
        self, operand: Operand, weight: Tensor, crossbar: Crossbar, strength: Tensor
    ) -> Tensor:
        """See the class."""
        cell = self.cell or crossbar.hardware.cell
        law = cell.programming
        if law is None:  # `adapt` refuses it
            raise TypeError(f"the cell {cell!r} has no programming error")

        def program(target: Tensor) -> Tensor:
            error = law.program(target, cell.g_max, standard_normal_like(target)) - target
            g = target + self.scale * strength * error
            return g if cell.signed else g.clamp(min=0.0)

        return disturbed(operand, weight, crossbar, cell, program)
