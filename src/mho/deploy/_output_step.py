"""The step of the output codes of a digital unit, from data."""

from typing import Any, Protocol

from torch import Tensor

from ..circuits import FixedPoint
from ..nn import Crossbar, Site
from ..tiles import column_scales

SHARE = 0.75
"""Of the formats, that nominal parameters may take where the step is to fit them."""


class Statistic(Protocol):
    """A running statistic of magnitudes."""

    def see(self, x: Tensor) -> None:
        """Take in the values of one batch, flat."""

    def result(self) -> float:
        """Return it."""
        ...


class OutputStep:
    """Watches the outputs of one crossbar and its bias; a forward hook."""

    def __init__(self, crossbar: Crossbar, statistic: Statistic) -> None:
        unit = crossbar.hardware.digital
        assert isinstance(unit, FixedPoint)
        self.unit, self.statistic = unit, statistic
        self.bias: Tensor | None = None

    def __call__(
        self, crossbar: Crossbar, args: tuple[Any, ...], given: dict[str, Any], y: Tensor
    ) -> None:
        """See `torch.nn.Module.register_forward_hook`."""
        if y.numel():
            low, self.bias = self.unit.limits[0], given.get("bias")
            self.statistic.see((y if low else y.clamp(min=0)).flatten())

    def result(self, site: Site) -> float:
        """Return the step, for the ranges and bounds that the crossbar now has."""
        step = self.statistic.result() / self.unit.limits[1]
        if self.unit.step == "outputs":
            return step
        crossbar, unit = site.crossbar, self.unit
        operand = crossbar.operand(site.matrix.detach().float())
        largest = column_scales(operand, crossbar.hardware, crossbar.geometry).max()
        needs = [largest / (unit.scale.limits(False)[1] * 2.0**-unit.scale.fraction)]
        if self.bias is not None:
            arrays = crossbar.geometry.parts * crossbar.geometry.slices
            most = unit.offset.limits(True)[1] * 2.0**-unit.offset.fraction
            needs.append(self.bias.detach().abs().max() / (arrays * most))
        return max(step, *(float(need) / SHARE for need in needs))
