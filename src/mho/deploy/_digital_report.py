"""What digital units of an own arithmetic do to a model: saturated outputs, and deviations."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..circuits import FixedPoint
from ..errors import LifecycleError
from ..nn import Site, converted
from ..spec import render_table
from ..tiles import Setting, column_scales
from ._batches import Forward, run
from ._model import evaluating


@dataclass(frozen=True)
class LayerDigits:
    """The counts of one layer's digital unit, over all outputs that it computed.

    Attributes:
        name: the weight.
        outputs: how many outputs.
        above: outputs that saturated at the largest code, or became infinite.
        below: outputs that saturated at the smallest one; where that is 0, it is an activation.
        worst: largest |y - exact|, where exact is what floating point makes of the same codes and
            parameters, limited to what outputs can be.
        mean: mean |y - exact|.
        largest: largest |exact| before the limits.
        step: of the output codes; None where outputs have none.
        columns: physical columns.
        silent: columns whose scale became 0.
    """

    name: str
    outputs: int
    above: int
    below: int
    worst: float
    mean: float
    largest: float
    step: float | None
    columns: int
    silent: int

    @property
    def saturated(self) -> float:
        """Share of the outputs that saturated."""
        return (self.above + self.below) / self.outputs

    def row(self) -> tuple[str, ...]:
        """The cells of the report's table."""
        unit, name = (self.step, " steps") if self.step else (self.largest or 1.0, " of max")
        return (
            self.name,
            str(self.outputs),
            f"{self.above} + {self.below} ({self.saturated:.2%})",
            f"{self.worst / unit:.3g}{name}",
            f"{self.mean / unit:.3g}{name}",
            f"{self.silent} of {self.columns}",
        )


@dataclass(frozen=True)
class DigitalReport:
    """What `mho.digital_report` counted; prints as a table.

    Attributes:
        unit: kind of the digital unit.
        layers: in the model's order.
        unreached: weights whose layer never ran on the data.
    """

    unit: str
    layers: tuple[LayerDigits, ...]
    unreached: tuple[str, ...]

    def __str__(self) -> str:
        header = (
            "weight", "outputs", "saturated above + below", "worst deviation", "mean deviation",
            "columns of scale 0",
        )  # fmt: skip
        notes = [f"never ran on this data: {name}" for name in self.unreached]
        title = f"digital units: {self.unit}"
        return "\n".join([render_table(title, header, [e.row() for e in self.layers]), *notes])


class _Counter:
    """Adds up what one layer's unit does; see `tiles.Watch`."""

    def __init__(self) -> None:
        self.outputs = self.above = self.below = 0
        self.worst = self.total = self.largest = 0.0
        self.step: float | None = None

    def __call__(self, y: Tensor, exact: Tensor, beyond: list[Tensor], setting: Setting) -> None:
        unit, spec = setting.operand.unit, setting.hardware.digital
        assert unit is not None
        self.step = None if unit.step is None else float(unit.step)
        above, below = (int(where.sum()) for where in beyond)
        deviation = (y.double() - spec.limited(exact, unit.step)).abs()
        deviation = deviation[deviation.isfinite()]  # what became infinite is counted as saturated
        self.outputs, self.above = self.outputs + y.numel(), self.above + above
        self.below += below
        if deviation.numel():
            self.worst = max(self.worst, float(deviation.max()))
            self.total += float(deviation.sum())
        if exact.numel():
            self.largest = max(self.largest, float(exact.abs().max()))

    @torch.no_grad()
    def result(self, site: Site) -> LayerDigits:
        """Return the counts."""
        crossbar, silent = site.crossbar, 0
        geometry, unit = crossbar.geometry, crossbar.hardware.digital
        if isinstance(unit, FixedPoint) and crossbar.output_step is not None:
            operand = crossbar.operand(site.matrix.float())
            scale = column_scales(operand, crossbar.hardware, geometry)
            silent = int((unit.scale.code(scale / crossbar.output_step) == 0).sum())
        return LayerDigits(
            site.name, self.outputs, self.above, self.below, self.worst, self.total / self.outputs,
            self.largest, self.step, geometry.parts * geometry.slices * geometry.out, silent,
        )  # fmt: skip


def digital_report(
    model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None
) -> DigitalReport:
    """Run a model and count what its digital units do: saturations, deviations from floating point.

    The deviation of a layer is that of its own arithmetic: floating point gets the same codes and
    the same parameters. Nothing is changed.

    Args:
        model: a model whose hardware has `digital: half` or `digital: fixed_point`.
        batches: tensors, mappings of keyword arguments, or tuples of arguments.
        forward: how to run a batch, `forward(model, batch)`, if none of the above fits.

    Raises:
        LifecycleError: no layer has such a unit, or one is not calibrated.
        DataError: no batch.
    """
    found = [site for site in converted(model) if not site.crossbar.hardware.digital.native]
    if not found:
        raise LifecycleError(
            "every digital unit computes as the model does, so nothing deviates: convert with "
            "`digital: fixed_point` or `digital: half`."
        )
    counters = {site.name: _Counter() for site in found}
    try:
        for site in found:
            site.crossbar.watch = counters[site.name]
        with evaluating(model):
            run(model, batches, forward, "counting")
            reached = tuple(counters[s.name].result(s) for s in found if counters[s.name].outputs)
    finally:
        for site in found:
            site.crossbar.watch = None
    units = dict.fromkeys(site.crossbar.hardware.digital.kind for site in found)
    unreached = tuple(site.name for site in found if not counters[site.name].outputs)
    return DigitalReport(", ".join(units), reached, unreached)
