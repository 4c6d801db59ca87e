"""Measured thresholds."""

from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from ._converter import Converter, OwnNumbers
from ._draws import Draws


class MeasuredThresholds(Converter):
    """Thresholds t[1 ... levels - 1] as measured; the code is the number of those below the signal.

    Several measured converters, one line each, belong to the columns of every array in their
    order, over and over, or each converter of a chip is one of them by chance. Models that are not
    programmed have their mean.
    """

    kind: Literal["table"] = "table"
    thresholds: tuple[tuple[float, ...], ...] = Field(
        min_length=1,
        description="Ascending thresholds over the bound, one line for each measured converter: "
        "as many as the ADC has steps, or 2^bits - 1.",
    )
    assigned: Literal["in_order", "by_chance"] = Field(
        default="in_order", description="Which measured converter a converter of a chip is."
    )

    @field_validator("thresholds", mode="before")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        alone = isinstance(value, list | tuple) and value and isinstance(value[0], int | float)
        return (value,) if alone else value

    @model_validator(mode="after")
    def _ascending(self) -> "MeasuredThresholds":
        lengths = {len(line) for line in self.thresholds}
        if len(lengths) > 1:
            raise ValueError(f"converters have different numbers of thresholds: {sorted(lengths)}")
        if min(lengths) < 1:
            raise ValueError("a converter without thresholds has fewer than two levels")
        for line, t in enumerate(self.thresholds):
            for k, (a, b) in enumerate(pairwise(t), 1):
                if b < a:
                    raise ValueError(
                        f"thresholds of converter {line} are not monotone: t[{k + 1}] = {b:g} is "
                        f"below t[{k}] = {a:g}; a code is the number of thresholds below the "
                        "signal, so sort them"
                    )
        return self

    def check(self, half: int) -> None:
        """As many thresholds as the ADC's levels need."""
        count = len(self.thresholds[0])
        if count not in (2 * half, 2 * half + 1):
            raise ValueError(
                f"{count} thresholds make {count + 1} levels, but the ADC has {2 * half + 1} or "
                f"{2 * half + 2}: give {2 * half} or {2 * half + 1} thresholds, or other bits"
            )

    def draw(self, draws: Draws, half: int) -> Tensor | None:
        """Return the thresholds of each column's converter, in steps."""
        if self.assigned == "by_chance":
            chosen = (draws.uniform("measured converter") * len(self.thresholds)).long()
        else:
            chosen = draws.position() % len(self.thresholds)
        return (half * torch.tensor(self.thresholds, device=chosen.device))[chosen]

    def nominal(self, half: int) -> Tensor:
        """Return the mean thresholds, in steps."""
        return half * torch.tensor(self.thresholds).mean(0)

    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """See `Converter.search`."""
        count = own.values.shape[1]
        return own.below(z, count) - (count - half)
