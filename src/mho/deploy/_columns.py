"""The gain and the offset of every physical column, by least squares."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..circuits import CurrentSum
from ..nn import Crossbar, Site
from ..ops import Stream
from ..tiles import Dense, Geometry, Hardware, column_outputs, nominal
from ._batches import Forward, run
from ._model import evaluating

VECTORS = 2048
"""Random inputs: offsets of a converter are then known to about a hundredth of its step."""
OF_COLUMNS = ("column_gain", "column_offset", "column_seconds")
"""What a crossbar keeps of the calibration of its columns."""
AT_ONCE = 256
"""Random inputs of one product, which bounds the memory that the columns of a wide layer take."""


class Line:
    """Sums for the regression exact = gain * analog + offset of many columns at once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sums = torch.zeros(5, *shape, dtype=torch.float64)

    def see(self, analog: Tensor, exact: Tensor, counts: Tensor | None = None) -> None:
        """Take in values (N, ...), those that count if given."""
        a, e = (y.detach().double().cpu() for y in (analog, exact))
        one = torch.ones_like(a) if counts is None else counts.double().cpu()
        parts = (one, a, e, a * a, a * e)
        self.sums += torch.stack([(part * one).sum(0) for part in parts])

    @property
    def reached(self) -> bool:
        """Whether anything was seen."""
        return bool(self.sums[0].any())

    def solution(self) -> tuple[Tensor, Tensor]:
        """Gains and offsets; gain 1 where the analog value never changed or counted."""
        n, a, e, aa, ae = self.sums
        n = n.clamp(min=1)
        variance, covariance = aa - a * a / n, ae - a * e / n
        gain = torch.where(variance > 1e-12 * aa, covariance / variance, 1.0)
        return gain.float(), ((e - gain * a) / n).float()


def visited(
    model: nn.Module,
    found: list[Site],
    hooks: Mapping[int, Any],
    batches: Iterable[Any],
    forward: Forward | None,
) -> list[Site]:
    """Run a model with hooks on its crossbars, by id; return the sites that it reached."""
    handles = [site.crossbar.register_forward_hook(hooks[id(site.crossbar)]) for site in found]
    try:
        with evaluating(model):
            run(model, batches, forward, "compensating")
    finally:
        for handle in handles:
            handle.remove()
    unreached = [site.name for site in found if not hooks[id(site.crossbar)].line.reached]
    if unreached:
        warnings.warn(
            f"never ran on this data, so left without correction: {', '.join(unreached)}",
            stacklevel=4,
        )
    return [site for site in found if site.name not in unreached]


def drop_offsets(found: list[Site]) -> None:
    """Take corrections with offsets away where ranges or bounds are not those of them any more."""
    stale = [
        site
        for site in found
        if site.crossbar.offset is not None or site.crossbar.column_offset is not None
    ]
    for site in stale:
        for key in ("gain", "offset", *OF_COLUMNS):
            setattr(site.crossbar, key, None)
    if stale:
        warnings.warn(
            "ranges and bounds are new, so the corrections made for the old ones are gone: call "
            f"mho.compensate again for {', '.join(site.name for site in stale)}",
            stacklevel=4,
        )


def correct_columns(
    model: nn.Module,
    found: list[Site],
    batches: Iterable[Any] | None,
    forward: Forward | None,
) -> None:
    """Set the gain and offset of each column of programmed crossbars, as `mho.compensate` says.

    Conversions at the ADC's bound do not count.
    """
    fits = {id(site.crossbar): _Columns(site) for site in found}
    if batches is None:
        for site in found:
            fits[id(site.crossbar)].at_random()
    else:
        found = visited(model, found, fits, batches, forward)
    for site in found:
        device, solved = site.weight.device, fits[id(site.crossbar)].line.solution()
        site.crossbar.column_gain, site.crossbar.column_offset = (v.to(device) for v in solved)
        assert site.crossbar.seconds is not None
        site.crossbar.column_seconds = site.crossbar.seconds.clone()


class _Columns:
    """The regression of the exact partial products on what the converters say."""

    def __init__(self, site: Site) -> None:
        self.site, geometry = site, site.crossbar.geometry
        self.line = Line((geometry.parts, geometry.slices * geometry.out))

    def __call__(self, crossbar: Crossbar, args: tuple[Any, ...], analog: Tensor) -> Tensor:
        """Read the columns once more for the inputs of a product; hand the exact one on."""
        x, weight, *rest = args
        geometry = rest[0] if rest and rest[0] is not None else crossbar.geometry
        self._see(x, weight, geometry)
        return crossbar.exact(x, weight, geometry)

    def at_random(self) -> None:
        """Show Gaussian inputs, whose std is a quarter of the range so that few are clipped.

        They have the levels of the drivers, whose rounding is no error of the columns.
        """
        crossbar = self.site.crossbar
        geometry, seed = crossbar.geometry, crossbar.seed
        assert seed is not None
        flat = Dense(geometry.out, geometry.partition, geometry.slices)
        stream = Stream(int(seed), crossbar.tile)
        drives = stream.normal("column inputs", (VECTORS, geometry.rows)) / 4
        dac, matrix = crossbar.hardware.dac, self.site.matrix.float()
        if dac.half_steps:
            drives = (drives * dac.half_steps).round() / dac.half_steps
        if dac.bits == 1:
            drives = torch.where(drives < 0, -1.0, 1.0)
        for part in drives.split(AT_ONCE):
            self._see(part.to(matrix.device) * crossbar.full_scale(), matrix, flat)

    @torch.no_grad()
    def _see(self, x: Tensor, weight: Tensor, geometry: Geometry) -> None:
        crossbar = self.site.crossbar
        target = nominal(crossbar.target(weight), _adding(crossbar.hardware), geometry)
        exact = geometry.by_column(
            geometry.product(geometry.split(x), target.weight.to(x.dtype))
        )  # (N, R, S out)
        per_slice = exact.unflatten(-1, (len(target.significance), -1))
        exact = (per_slice * exact.new_tensor(target.significance)[:, None]).flatten(-2)
        operand = replace(crossbar.operand(weight), gain=None)  # a learned scale is no error
        analog, inside = column_outputs(x, operand, crossbar.hardware, geometry)
        self.line.see(analog, exact, inside)


def _adding(hardware: Hardware) -> Hardware:
    """Return the hardware with arrays that just add up what their cells hold."""
    array = hardware.array.with_fields(wires=None, combine=CurrentSum())
    return hardware.with_fields(array=array)
