"""The array: its size, how a matrix is spread over several, and how its cells add up."""

from typing import Literal

from pydantic import Field

from ..spec import Spec
from ._combine import Combine, CurrentSum
from ._wires import Wires


class Array(Spec):
    """One crossbar array of unit cells."""

    rows: int | None = Field(
        default=None, ge=1, strict=True, description="Input lines. None has no limit."
    )
    cols: int | None = Field(
        default=None, ge=1, strict=True, description="Output lines. None has no limit."
    )
    partition: Literal["balanced", "greedy"] = Field(
        default="balanced",
        description="Spread a matrix evenly over the arrays it needs, or fill them in turn.",
    )
    combine: Combine = Field(
        default=CurrentSum(), description="How the cells of a column make its signal."
    )
    wires: Wires | None = Field(default=None, description="Wire resistance. None is ideal.")
    polarity_spread: float = Field(
        default=0.0, ge=0,
        description="Relative spread over cells of the difference between reads of either polarity "
        "(needs the positive_negative scheme).",
    )  # fmt: skip
