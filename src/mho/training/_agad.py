"""AGAD: the fast array's offset is measured while training, and subtracted."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ._chopped import Chopper
from ._state import Matrix, State


class Agad(Chopper):
    """Analog gradient accumulation with dynamic reference.

        signal = c_in[j] c_out (y - P),  y = A e_j
        M <- (1 - rho) M + rho y,  rho = min(tail_weighting / N, 1)

    where the reference P of a column is what M was when its chopper last changed, and N is the
    period of the chopper in reads. No cell needs a symmetry point at 0, or at any known place. C is
    written from the second period on, since there is no reference before.

    Source: M. Rasch et al., Nat. Commun. 15:7133 (2024), arXiv 2303.04721. The test of significance
    that its toolkit documents is not in the toolkit's code, and not here.
    """

    kind: Literal["agad"] = "agad"
    switching: Literal["random", "regular"] = Field(
        default="regular",
        description="When c_in changes its sign: each period, or at random times besides.",
    )
    tail_weighting: float = Field(
        default=5.0, gt=0, description="How much the last reads of a period count in M."
    )

    @model_validator(mode="after")
    def _switches(self) -> "Agad":
        if not self.input_chopper_probability:
            raise ValueError(
                "input_chopper_probability=0: a reference is taken when a chopper changes; give "
                "more than 0, or use tiki_taka_v2"
            )
        return self

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """See `Chopper`; the mean and the reference begin at 0."""
        state = super().start(matrix, weight)
        state.zeros("mean")
        state.zeros("reference")
        state.zeros("switched", matrix.shape[1])
        return state

    def signal(self, state: State, columns: Tensor, y: Tensor) -> Tensor | None:
        """See `BufferedTransfer`; zero for columns in their first period."""
        tensors = state.tensors
        mean, reference = tensors["mean"][:, columns], tensors["reference"][:, columns]
        switched = tensors["switched"][columns] > 0
        reference = torch.where(switched, mean, reference)
        tensors["reference"][:, columns] = reference
        weighting = min(self.tail_weighting / self.period, 1.0)
        tensors["mean"][:, columns] = mean.lerp(y, weighting)
        known = tensors["reads"][columns] >= self.period
        return self.signs(state, columns) * (y - reference) * known

    def flips(self, state: State, columns: Tensor) -> Tensor:
        """See `Chopper`; and note them for the next read."""
        flips = state.tensors["reads"][columns] % self.period == 0
        if self.switching == "random":
            flips = flips | super().flips(state, columns)
        state.tensors["switched"][columns] = flips.float()
        return flips
