"""Plain stochastic gradient descent by pulses."""

from typing import Literal

from torch import Tensor

from ..tiles import Samples
from ._algorithm import Algorithm, follow
from ._state import Matrix, State


class PulsedSGD(Algorithm):
    """One array, on which every gradient makes pulses: w <- w + pulsed(-(lr / scale) d x^T).

    Source: T. Gokmen, Y. Vlasov, Front. Neurosci. 10:333 (2016). Where steps up and down differ, it
    does not find the minimum of the loss f but that of f plus a penalty, for a linear response
    sigma ||w||^2 / (2 tau), sigma being the mean size of the gradient's noise (Z. Wu et al.,
    NeurIPS 2025, arXiv 2502.06309, Theorem 1).
    """

    kind: Literal["pulsed_sgd"] = "pulsed_sgd"

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """See `Algorithm`."""
        state = State(matrix, arrays={"weight": matrix.array("weight")})
        state.cut = state.arrays["weight"].write(weight)
        return state

    def weight(self, state: State) -> Tensor:
        """See `Algorithm`."""
        return state.arrays["weight"].weight

    def update(self, state: State, samples: Samples, lr: float) -> None:
        """See `Algorithm`."""
        follow(state, "weight", samples, lr / state.matrix.scale)
