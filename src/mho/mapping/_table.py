"""Any mapping that can be written as a piecewise-linear table of conductances over the weight."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ._mapping import Mapping


class Table(Mapping):
    """Conductances of each device as piecewise-linear functions of the weight.

    `devices[p]` lists the relative conductance (0 = g_min, 1 = g_max) of device p at the weights
    `points`; the array adds the devices' currents with `factors` (signed). What the array computes
    must be the weight, so sum_p factors[p] devices[p] must be a multiple k > 0 of the weight at
    every point; a table that is not invertible in this sense is refused. Source of the idea: Mackin
    et al., Nat. Commun. 13:3765 (2022), Fig. 2.
    """

    kind: Literal["table"] = "table"
    points: tuple[float, ...] = Field(
        default=(-1.0, 0.0, 1.0), description="Ascending relative weights from -1 to 1."
    )
    devices: tuple[tuple[float, ...], ...] = Field(
        default=((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
        description="Relative conductance in [0, 1] of each device at each point.",
    )
    factors: tuple[float, ...] = Field(
        default=(1.0, -1.0), description="Signed factor of each device's current."
    )

    @model_validator(mode="after")
    def _invertible(self) -> "Table":
        points = self.points
        if (
            len(points) < 2
            or points[0] != -1
            or points[-1] != 1
            or list(points) != sorted(set(points))
        ):
            raise ValueError(f"points must ascend from -1 to 1, got {points}")
        wrong = any(len(device) != len(points) for device in self.devices)
        if wrong or not self.devices or len(self.devices) != len(self.factors):
            raise ValueError(
                "devices needs one row per factor, at least one, and one number per point"
            )
        if any(not 0 <= value <= 1 for row in self.devices for value in row):
            raise ValueError("relative conductances must lie in [0, 1]")
        totals = self._totals()
        slope = (totals[-1] - totals[0]) / 2
        for weight, total in zip(points, totals, strict=True):
            if abs(total - slope * weight) > 1e-6 * abs(slope):
                raise ValueError(
                    f"not invertible: the currents at w = {weight:g} add to {total:g}, "
                    f"but {slope:g} w = {slope * weight:g} is needed"
                )
        if slope <= 0:
            raise ValueError("not invertible: the summed current does not grow with the weight")
        return self

    def _totals(self) -> list[float]:
        columns = zip(*self.devices, strict=True)
        return [sum(f * g for f, g in zip(self.factors, column, strict=True)) for column in columns]

    def _slope(self) -> float:
        totals = self._totals()
        return (totals[-1] - totals[0]) / 2

    @property
    def planes(self) -> int:
        """The rows of the table."""
        return len(self.devices)

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        points = torch.tensor(self.points, dtype=w.dtype, device=w.device)
        table = torch.tensor(self.devices, dtype=w.dtype, device=w.device)
        right = torch.searchsorted(points, w.contiguous()).clamp(1, len(self.points) - 1)
        share = (w - points[right - 1]) / (points[right] - points[right - 1])
        relative = torch.lerp(table[:, right - 1], table[:, right], share)  # (planes, out, in)
        return g_min + (g_max - g_min) * relative

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        factors = torch.tensor(self.factors, dtype=g.dtype, device=g.device)
        relative = (g - g_min) / (g_max - g_min)
        return (torch.einsum("p,poi->oi", factors, relative) / self._slope()).unsqueeze(0)
