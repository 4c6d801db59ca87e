"""The measured transfer curve."""

from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..cells import Table
from ._transfer import Transfer


class MeasuredCurve(Transfer):
    """A measured curve: points joined by straight lines, all relative to the bound.

    Converter c has u + s_c (f(u) - u), where f is the measured curve and s_c = |1 + spread xi| the
    strength of its bend. Beyond the last point the output stays. Outputs must not fall: where two
    ranges of the signal share an output, no code can tell them apart.

    Instead of inputs and outputs, `file` names a CSV with a header, `column` its column of outputs,
    and `argument` that of the inputs (by default the first); the numbers are read once.
    """

    kind: Literal["table"] = "table"
    inputs: tuple[float, ...] = Field(
        min_length=2,
        description="Ascending signals over the bound, from -1 or below to 1 or above.",
    )
    outputs: tuple[float, ...] = Field(
        min_length=2, description="Output over the bound at each of the inputs; never falling."
    )
    strength_spread: float = Field(
        default=0.0, ge=0, description="Relative spread of the bend over converters."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "file" not in data:
            return data
        if data.keys() & {"inputs", "outputs"}:
            raise ValueError("give either file and column, or inputs and outputs, not both")
        rest = dict(data)
        named = {k: rest.pop(k) for k in ("file", "column", "argument") if k in rest}
        read = Table(**named)
        return {**rest, "inputs": read.points, "outputs": read.values}

    @model_validator(mode="after")
    def _monotone(self) -> "MeasuredCurve":
        if len(self.inputs) != len(self.outputs):
            raise ValueError(f"{len(self.inputs)} inputs but {len(self.outputs)} outputs")
        if any(b <= a for a, b in pairwise(self.inputs)):
            raise ValueError(f"inputs must be strictly ascending, got {self.inputs}")
        if self.inputs[0] > -1 or self.inputs[-1] < 1:
            raise ValueError(
                f"the curve was measured from {self.inputs[0]:g} to {self.inputs[-1]:g} of the "
                "bound, but must be known from -1 to 1"
            )
        for at, (a, b) in zip(self.inputs[1:], pairwise(self.outputs), strict=True):
            if b < a:
                raise ValueError(
                    f"the curve is not monotone: it falls from {a:g} to {b:g} up to the input "
                    f"{at:g}; outputs must not fall: average more measurements, or give the "
                    "thresholds of the codes, `converter: {kind: table, ...}`"
                )
        return self

    @property
    def spread(self) -> float:
        """See `strength_spread`."""
        return self.strength_spread

    def apply(self, y: Tensor, bound: float, strength: Tensor | float) -> Tensor:
        """See `Transfer.apply`."""
        x = torch.tensor(self.inputs, dtype=y.dtype, device=y.device)
        f = torch.tensor(self.outputs, dtype=y.dtype, device=y.device)
        u = (y / bound).clamp(self.inputs[0], self.inputs[-1])
        right = torch.searchsorted(x, u.detach().contiguous()).clamp(1, len(x) - 1)
        left = right - 1
        slope = ((f[1:] - f[:-1]) / (x[1:] - x[:-1]))[left]
        v = f[left] + slope * (u - x[left])
        return bound * (u + strength * (v - u))
