"""Residual learning with a digital filter between the two arrays."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from ..tiles import Samples
from ._algorithm import FastAlgorithm, follow
from ._state import Matrix, State
from ._transfer import is_due, next_columns, read_columns, write_columns


class ResidualLearningV2(FastAlgorithm):
    """Residual learning whose reads are averaged digitally, so that their noise stays out of W.

        P <- P + pulsed(-(lr / scale) d x^T)
        H <- (1 - beta) H + beta (P + read noise), column by column
        where |H| >= Delta: one pulse on W in the direction of H, and H <- H - Delta sign(H)

    with the weight w = W + gamma P and Delta the granularity of W's cells.

    Source: Z. Wu et al., NeurIPS 2025, arXiv 2502.06309, residual learning v2.
    """

    kind: Literal["residual_learning_v2"] = "residual_learning_v2"
    gamma: float = Field(
        default=0.4, ge=0, lt=1, description="Significance of P in the visible weight."
    )
    beta: float = Field(default=0.01, gt=0, le=1, description="Rate of the digital filter.")
    transfer_every: int = Field(
        default=1, ge=1, strict=True, description="Optimizer steps between transfers."
    )
    columns: int | None = Field(
        default=None, ge=1, strict=True, description="Columns of one transfer. None: all."
    )

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """All of the weight is on W; P and H begin at zero."""
        state = State(matrix)
        state.arrays["P"] = self.fast_array(matrix, "P")
        state.arrays["W"] = matrix.array("W")
        state.cut = state.arrays["W"].write(weight)
        state.zeros("H")
        return state

    def weight(self, state: State) -> Tensor:
        """See `Algorithm`."""
        weight = state.arrays["W"].weight
        return weight + self.gamma * state.arrays["P"].weight if self.gamma else weight

    def update(self, state: State, samples: Samples, lr: float) -> None:
        """See `Algorithm`."""
        follow(state, "P", samples, lr / state.matrix.scale)
        if not is_due(state, self.transfer_every):
            return
        columns = next_columns(state, "transfer", self.columns)
        array, H = state.arrays["W"], state.tensors["H"]
        filtered = H[:, columns].lerp(read_columns(state, "P", columns), self.beta)
        fires = filtered.sign() * (filtered.abs() >= array.granularity)
        H[:, columns] = filtered - fires * array.granularity
        write_columns(array, columns, fires)
