"""Mixed precision: gradients in digital memory, weights on an array."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..tiles import Samples
from ._algorithm import Algorithm
from ._state import Matrix, State
from ._transfer import is_due, next_columns, write_columns


class MixedPrecision(Algorithm):
    """chi <- chi - (lr / scale) d x^T digitally;  n = trunc(chi / g) pulses;  chi <- chi - n g.

    g is the granularity of the cells. x and d may be on levels, which spares most of the digital
    work: with b bins, h = floor(b / 2) levels on each side of 0 up to the largest value of a
    vector, stochastically rounded or not. Without bins they are exact.

    Source: S. Nandakumar et al., Front. Neurosci. 14:406 (2020).
    """

    kind: Literal["mixed_precision"] = "mixed_precision"
    transfer_every: int = Field(
        default=1, ge=1, strict=True, description="Optimizer steps between transfers."
    )
    columns: int | None = Field(
        default=None, ge=1, strict=True, description="Columns of one transfer. None: all."
    )
    threshold: float = Field(
        default=1.0, gt=0,
        description="Digital gradient that makes one pulse, in units of the cells' granularity.",
    )  # fmt: skip
    input_bins: int | None = Field(
        default=None, ge=2, strict=True, description="Levels of x. None: exact."
    )
    error_bins: int | None = Field(
        default=None, ge=2, strict=True, description="Levels of d. None: exact."
    )
    rounding: Literal["stochastic", "nearest"] = Field(
        default="stochastic", description="How x and d come onto levels."
    )

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """See `Algorithm`."""
        state = State(matrix, arrays={"weight": matrix.array("weight")})
        state.cut = state.arrays["weight"].write(weight)
        state.zeros("chi")
        return state

    def weight(self, state: State) -> Tensor:
        """See `Algorithm`."""
        return state.arrays["weight"].weight

    def gradient_rate(self, state: State, largest: tuple[float, float], lr: float) -> float | None:
        """None: there are no trains."""
        return None

    def update(self, state: State, samples: Samples, lr: float) -> None:
        """See `Algorithm`."""
        chi, array = state.tensors["chi"], state.arrays["weight"]
        chi.sub_(self._gradient(state, samples), alpha=lr / state.matrix.scale)
        if not is_due(state, self.transfer_every):
            return
        columns = next_columns(state, "transfer", self.columns)
        threshold = self.threshold * array.granularity
        n = (chi[:, columns] / threshold).trunc()
        chi[:, columns] -= n * threshold
        write_columns(array, columns, n)

    def _gradient(self, state: State, samples: Samples) -> Tensor:
        """Return sum_n d_n x_n^T, of what is on levels."""
        if self.input_bins is None and self.error_bins is None:
            return state.gradient(samples)
        process = "" if state.parallel is None else f" of {state.parallel.rank}"
        total = torch.zeros(state.matrix.shape, device=state.matrix.place)
        for number, (x, d) in enumerate(samples.chunks()):
            x = self._on_levels(state, f"x {number}{process}", x, self.input_bins)
            d = self._on_levels(state, f"d {number}{process}", d, self.error_bins)
            total.addmm_(d.T, x)
        if state.parallel is not None:
            state.parallel.add(total)
        return total

    def _on_levels(self, state: State, purpose: str, v: Tensor, bins: int | None) -> Tensor:
        if bins is None:
            return v
        half = bins // 2
        width = v.abs().amax(1, keepdim=True) / half
        codes = torch.where(width > 0, v / width, 0.0)
        if self.rounding == "stochastic":
            return torch.floor(codes + state.uniform(purpose, tuple(v.shape))) * width
        return torch.round(codes) * width
