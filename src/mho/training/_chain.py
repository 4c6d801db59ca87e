"""Arrays in a chain, each of which hands what it has gathered to the next: what several share."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field
from torch import Tensor

from ..tiles import Samples
from ._algorithm import FastAlgorithm, follow
from ._state import Matrix, State
from ._transfer import is_due, next_columns, read_columns, rounded_counts, write_columns


class Chain(FastAlgorithm):
    """Arrays A_0 ... A_(n-1): the first follows the gradient, the last is the weight proper.

        w = sum_k gamma^(n-1-k) A_k
        A_0     <- A_0 + pulsed(-fast rate d x^T)
        A_(k+1) <- A_(k+1) + pulsed(transfer rate A_k e_j e_j^T)  for the columns j of a transfer

    Link k is due every T_k steps: T_0 = transfer_every, and T_(k+1) = T_k in / columns, that is,
    after the link before has been through its whole matrix. A transferred column is a vector of
    numbers in the digital unit, so it is written by counts of pulses, stochastically rounded to
    have the right mean, and not by coincidences of random trains.
    """

    arrays: int = Field(default=2, ge=2, le=8, strict=True, description="Arrays n of the chain.")
    gamma: float = Field(
        default=0.0, ge=0, lt=1,
        description="Significance of each array relative to the next in the visible weight.",
    )  # fmt: skip
    transfer_every: int = Field(
        default=1, ge=1, strict=True, description="Optimizer steps between transfers."
    )
    columns: int | None = Field(
        default=None, ge=1, strict=True,
        description="Columns of one transfer. None: all, as a mini-batch is many vectors; "
        "published results read one after each vector.",
    )  # fmt: skip
    order: Literal["cyclic", "random"] = Field(
        default="cyclic", description="Which columns come next."
    )

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """All of the weight is on the last array; the others begin at zero."""
        last, state = f"A{self.arrays - 1}", State(matrix)
        for k in range(self.arrays - 1):
            state.arrays[f"A{k}"] = self.fast_array(matrix, f"A{k}")
        state.arrays[last] = matrix.array(last)
        state.cut = state.arrays[last].write(weight)
        return state

    @property
    def significances(self) -> tuple[float, ...]:
        """Factor of each array in the visible weight."""
        return tuple(self.gamma ** (self.arrays - 1 - k) for k in range(self.arrays))

    def weight(self, state: State) -> Tensor:
        """See `Algorithm`."""
        pairs = zip(self.significances, state.arrays.values(), strict=True)
        visible = [array.weight * factor for factor, array in pairs if factor]
        return sum(visible[1:], visible[0])

    @abstractmethod
    def rates(self, state: State, lr: float) -> tuple[float, float]:
        """Return the rates of the gradient on the first array and of a transfer."""

    def update(self, state: State, samples: Samples, lr: float) -> None:
        """See `Algorithm`."""
        fast, transfer = self.rates(state, lr)
        follow(state, "A0", samples, fast)
        period = self.transfer_every
        for k in range(self.arrays - 1):
            if is_due(state, period):
                self._transfer(state, k, transfer)
            period *= self._sweep(state)

    def gradient_rate(self, state: State, largest: tuple[float, float], lr: float) -> float | None:
        """See `Algorithm`."""
        return self.rates(state, lr)[0]

    def _sweep(self, state: State) -> int:
        """Transfers that it takes to go through all columns."""
        inputs = state.matrix.shape[1]
        return -(-inputs // (self.columns or inputs))

    def _transfer(self, state: State, k: int, rate: float) -> Tensor:
        columns = next_columns(state, f"link {k}", self.columns, self.order == "random")
        y, target = read_columns(state, f"A{k}", columns), state.arrays[f"A{k + 1}"]
        counts = rounded_counts(state, f"write {k}", rate * y, target.granularity)
        write_columns(target, columns, counts)
        return columns
