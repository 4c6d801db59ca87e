"""Residual learning: a second array learns what the first one misses."""

from typing import Literal

from pydantic import Field

from ._chain import Chain
from ._state import State


class ResidualLearning(Chain):
    """Two arrays, the second of which holds the residual, seen in the weight w = W + gamma P.

        P <- P + pulsed(-(lr / scale) d x^T),    W <- W + pulsed(beta P)

    The gradient is that at W + gamma P. Where the symmetry points of P's cells lie at 0, P vanishes
    and W reaches the minimum, for any response; gamma = 0 with a linear response is `TikiTaka`.
    beta does not follow the optimizer's learning rate. With several arrays each holds the residual
    of the next, in units of gamma, see `Chain`.

    Source: Z. Wu et al., NeurIPS 2025, arXiv 2502.06309, Eq. (12) and (13), with gamma = 0.4 and
    beta = 0.01 of its experiments.
    """

    kind: Literal["residual_learning"] = "residual_learning"
    gamma: float = Field(
        default=0.4, ge=0, lt=1,
        description="Significance of each array relative to the next in the visible weight.",
    )  # fmt: skip
    beta: float = Field(default=0.01, gt=0, description="Part of a column of P that goes over.")

    def rates(self, state: State, lr: float) -> tuple[float, float]:
        """See `Chain`."""
        return lr / state.matrix.scale, self.beta
