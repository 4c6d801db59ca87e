"""Chopped Tiki-Taka: random signs, undone at the read, average offsets of the fast array away."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..tiles import Samples
from ._buffered import BufferedTransfer
from ._state import Matrix, State


class Chopper(BufferedTransfer):
    """What algorithms with choppers share: signs c_in (in) and c_out (out) on what A sees.

        A <- A + pulsed(-r (c_out d) (c_in x)^T),   signal = c_in[j] c_out A e_j

    Where A's cells have a symmetry point other than 0, it adds to all reads with the same sign, and
    the signal has it with alternating signs. With gamma, the visible weight is
    C + gamma (c_out c_in^T) A.
    """

    input_chopper_probability: float = Field(
        default=0.1, ge=0, le=1,
        description="Chance that c_in of a column changes its sign after a read; where switching "
        "is regular, one over the reads from change to change.",
    )  # fmt: skip
    output_chopper_probability: float = Field(
        default=0.0, ge=0, le=1,
        description="Chance that each c_out changes its sign after all columns were read.",
    )  # fmt: skip
    switching: Literal["random", "regular"] = Field(
        default="random", description="When c_in changes its sign."
    )

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """See `BufferedTransfer`; all signs begin at +1."""
        state = super().start(matrix, weight)
        out, inputs = matrix.shape
        state.zeros("chopper in", inputs)
        state.zeros("chopper out", out)
        state.zeros("reads", inputs)
        state.tensors["chopper in"] += 1
        state.tensors["chopper out"] += 1
        return state

    @property
    def period(self) -> int:
        """Reads of a column from one regular change of sign to the next."""
        return max(2, -int(-1 // self.input_chopper_probability))

    def unchopped(self, state: State, fast: Tensor) -> Tensor:
        """See `BufferedTransfer`."""
        return fast * state.tensors["chopper out"][:, None] * state.tensors["chopper in"]

    def chopped(self, state: State, samples: Samples) -> Samples:
        """See `BufferedTransfer`."""
        tensors = state.tensors
        return samples.signed(inputs=tensors["chopper in"], outputs=tensors["chopper out"])

    def signs(self, state: State, columns: Tensor) -> Tensor:
        """Return the signs of some columns, (out, columns)."""
        signs = state.tensors["chopper in"][columns]
        return state.tensors["chopper out"][:, None] * signs

    def signal(self, state: State, columns: Tensor, y: Tensor) -> Tensor | None:
        """See `BufferedTransfer`."""
        return y * self.signs(state, columns)

    def after_read(self, state: State, columns: Tensor) -> None:
        """Switch choppers."""
        reads, tensors = state.tensors["reads"], state.tensors
        reads[columns] += 1
        flips = self.flips(state, columns)
        tensors["chopper in"][columns] *= 1 - 2 * flips.float()
        done = int(reads.sum()) // len(reads)  # how often the whole matrix was read
        if self.output_chopper_probability and done > state.numbers.get("sweeps", 0):
            state.numbers["sweeps"] = done
            drawn = state.uniform("chopper out", (state.matrix.shape[0],))
            tensors["chopper out"] *= torch.where(drawn < self.output_chopper_probability, -1, 1)

    def flips(self, state: State, columns: Tensor) -> Tensor:
        """Return which of the columns that were just read change their sign."""
        if not self.input_chopper_probability:
            return torch.zeros_like(columns, dtype=torch.bool)
        if self.switching == "random":
            drawn = state.uniform("chopper in", tuple(columns.shape))
            return drawn < self.input_chopper_probability
        return state.tensors["reads"][columns] % self.period == 0


class ChoppedTikiTaka(Chopper):
    """Chopped Tiki-Taka v2 (c-TTv2): see `Chopper` and `BufferedTransfer`.

    Source: M. Rasch et al., Nat. Commun. 15:7133 (2024), arXiv 2303.04721.
    """

    kind: Literal["chopped_tiki_taka"] = "chopped_tiki_taka"
