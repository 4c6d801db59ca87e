"""Tiki-Taka: gradients gather on one array and go over to another."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ._chain import Chain
from ._state import State
from ._suggest import Seen, Setting


class TikiTaka(Chain):
    """A <- A + pulsed(-fast_learning_rate lr / scale d x^T),  C <- C + pulsed(lambda A e_j e_j^T).

    A forgets towards the symmetry points of its cells, so those must lie at relative weight 0 (by a
    reference, see `subtract_symmetry_point`); then it is a running mean of the gradient, and the
    penalty of `PulsedSGD` falls away. lambda is transfer_learning_rate lr. The weight is C, plus
    gamma A. With several arrays see `Chain`.

    Source: T. Gokmen, W. Haensch, Front. Neurosci. 14:103 (2020).
    """

    kind: Literal["tiki_taka"] = "tiki_taka"
    fast_learning_rate: float = Field(
        default=1.0, gt=0, description="Learning rate of A, relative to the optimizer's."
    )
    transfer_learning_rate: float = Field(
        default=1.0, gt=0,
        description="Part of a read column that goes over, relative to the learning rate.",
    )  # fmt: skip
    scale_transfer: bool = Field(
        default=True,
        description="Whether transfers follow the optimizer's learning rate, or are constant.",
    )
    reset_probability: float = Field(
        default=0.0, ge=0, le=1, description="Chance that columns are reset after their read."
    )

    def rates(self, state: State, lr: float) -> tuple[float, float]:
        """See `Chain`."""
        transfer = self.transfer_learning_rate * (lr if self.scale_transfer else 1.0)
        return self.fast_learning_rate * lr / state.matrix.scale, transfer

    def settings(self, seen: tuple[Seen, ...], lr: float) -> list[Setting]:
        """Let C follow as gradient descent would.

        A forgets in tau steps, so it shows r G tau for a mean gradient G, with its relative rate r.
        Each of its columns goes over once in p steps, so C has the speed of lr where
        transfer_learning_rate lr r tau / p = lr / scale.
        """
        wanted = []
        for each in seen:
            rate = self.fast_learning_rate * lr / each.scale
            period = self.transfer_every * -(-each.shape[1] // (self.columns or each.shape[1]))
            steps = max(1.0, min(each.memory / max(each.pulses(rate), 1e-30), 1e3 * period))
            factor = 1.0 if not self.scale_transfer else lr
            wanted.append(min(1.0, period / (self.fast_learning_rate * steps)) / factor)
        why = "C then follows the gradient as fast as lr says; at most all of a column goes over"
        return [Setting("transfer_learning_rate", min(wanted), why)]

    def _transfer(self, state: State, k: int, rate: float) -> Tensor:
        columns = super()._transfer(state, k, rate)
        if self.reset_probability:
            drawn = state.uniform(f"reset {k}", tuple(columns.shape)) < self.reset_probability
            which = torch.zeros(state.matrix.shape[1], dtype=torch.bool, device=columns.device)
            which[columns] = drawn
            state.arrays[f"A{k}"].reset(which)
        return columns
