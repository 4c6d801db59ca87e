"""Find input ranges and ADC bounds from data."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..circuits import Learned
from ..errors import DataError, LifecycleError, RangeError
from ..nn import Crossbar, Site, converted
from ..ops import Stream, all_finite
from ..spec import render_table
from ..tiles import nominal, read_peaks, signal_scale
from ._batches import Forward, run
from ._columns import drop_offsets
from ._model import evaluating
from ._output_step import OutputStep

Method = Literal["moving_std", "moving_quantile", "quantile", "max"]
CACHE = 1_000_000


@dataclass(frozen=True)
class Calibration:
    """What `mho.calibrate` found; prints as a table.

    Attributes:
        method: how ranges were found.
        ranges: input range of each row-slice, by weight.
        bounds: largest calibrated ADC bound, in units of range x scale, by weight.
        steps: output step of a digital unit that computes with codes, by weight.
        unreached: weights whose layer never ran on the data; they stay uncalibrated.
    """

    method: str
    ranges: dict[str, tuple[float, ...]]
    bounds: dict[str, float]
    unreached: tuple[str, ...]
    steps: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        names = dict.fromkeys([*self.ranges, *self.bounds, *self.steps])
        header = ("weight", "input range", "ADC bound", "output step")
        shown = len(header) if self.steps else len(header) - 1
        rows = [
            (
                n,
                ", ".join(f"{r:.4g}" for r in self.ranges.get(n, ())),
                f"{self.bounds[n]:.4g}" if n in self.bounds else "",
                f"{self.steps[n]:.4g}" if n in self.steps else "",
            )[:shown]
            for n in names
        ]
        title = (
            f"calibrated ({self.method})"
            if rows
            else "nothing to calibrate: no range or bound needs data"
        )
        notes = [f"never ran on this data, still uncalibrated: {name}" for name in self.unreached]
        return "\n".join([render_table(title, header[:shown], rows), *notes])


class _Statistic:
    """A running statistic of the inputs of one row-slice."""

    def __init__(self, method: Method, quantile: float, sigma: float) -> None:
        self.method, self.quantile, self.sigma = method, quantile, sigma
        self.batches, self.value = 0, 0.0
        self.kept, self.share = torch.empty(0), 1.0

    def see(self, x: Tensor) -> None:
        """Take in the inputs of one batch."""
        if self.method == "quantile":
            fresh = self._thinned(x.abs().float().cpu(), self.share, "kept")
            self.kept = torch.cat((self.kept, fresh))
            while self.kept.numel() > CACHE:  # half of it makes room for the rest
                self.kept = self._thinned(self.kept, 0.5, f"halved {self.share}")
                self.share /= 2
        elif self.method == "max":
            self.value = max(self.value, float(x.abs().max()))
        else:
            now = self.sigma * float(x.float().std(correction=0))
            if self.method == "moving_quantile":
                now = quantile(x.abs(), self.quantile)
            self.value += (now - self.value) / (self.batches + 1)
        self.batches += 1

    def _thinned(self, x: Tensor, share: float, purpose: str) -> Tensor:
        """A share of the values at random: every n-th would always be of the same few features."""
        if share == 1:
            return x
        return x[Stream(0, "calibration").uniform(purpose, (len(x),), self.batches) < share]

    def result(self) -> float:
        """The range; 1 for a row-slice that saw nothing but zeros."""
        value = quantile(self.kept, self.quantile) if self.method == "quantile" else self.value
        return value if value > 0 else 1.0


def quantile(magnitude: Tensor, q: float) -> float:
    """Return the smallest value that at least a share q of the values does not exceed."""
    rank = min(magnitude.numel(), max(1, math.ceil(q * magnitude.numel())))
    return float(magnitude.float().kthvalue(rank).values)


class _Observer:
    """Collects, for one crossbar, what its ranges and bounds are made of."""

    def __init__(self, crossbar: Crossbar, make: Any) -> None:
        self.statistics = [make() for _ in range(crossbar.geometry.parts)]
        self.peaks: Tensor | None = None
        self.step = OutputStep(crossbar, make()) if crossbar.hardware.digital.integers else None

    def __call__(self, crossbar: Crossbar, x: Tensor, weight: Tensor) -> None:
        if x.numel() == 0:
            return
        if not all_finite(x):
            raise DataError(
                f"{crossbar.name}: the input has values that are not finite; "
                "nothing was calibrated."
            )
        geometry = crossbar.geometry
        for statistic, piece in zip(self.statistics, geometry.inputs_of(x), strict=True):
            statistic.see(piece)
        if crossbar.hardware.adc.bound_from_data:
            target = crossbar.target(weight)
            weights = nominal(target, crossbar.hardware, geometry).weight.to(x.dtype)
            if _reads_apart(crossbar):
                r = torch.tensor([s.result() for s in self.statistics], device=x.device)
                peaks = read_peaks(x, weights, r, crossbar.hardware, geometry).float()
            else:
                peaks = geometry.column_peaks(geometry.product(geometry.split(x), weights)).float()
            self.peaks = peaks if self.peaks is None else torch.maximum(self.peaks, peaks)

    @property
    def reached(self) -> bool:
        """Whether the layer ran."""
        return self.statistics[0].batches > 0


def _reads_apart(crossbar: Crossbar) -> bool:
    """Tell whether a product is several conversions, whose signals depend on the input range."""
    return crossbar.hardware.dac.scheme.digital_sum


def _needs_data(crossbar: Crossbar) -> bool:
    rule = crossbar.hardware.dac.range
    hardware, stored = crossbar.hardware, rule is not None and rule.stored
    return stored or hardware.adc.bound_from_data or hardware.digital.integers


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    method: Method = "quantile",
    quantile: float = 0.9999,
    sigma: float = 3.0,
    forward: Forward | None = None,
) -> Calibration:
    """Find input ranges, calibrated ADC bounds and output steps from data, in place.

    The model runs in eval mode with exact products, so the ranges are those of the digital model.
    Ranges are of |x|: `quantile` over all data (at most a million values per array, picked at
    random), `moving_quantile` the mean over batches of each batch's quantile, `moving_std` the mean
    over batches of sigma standard deviations, `max` the largest. The output step of a digital unit
    in integers is that same statistic of a layer's outputs, bias included, over its largest output
    code (see `mho.FixedPoint`). Nothing is changed if anything is wrong.

    Args:
        model: a converted model.
        batches: tensors, mappings of keyword arguments, or tuples of arguments.
        method: see above.
        quantile: share of |x| inside the range, in (0, 1].
        sigma: standard deviations inside the range.
        forward: how to run a batch, `forward(model, batch)`, if none of the above fits.

    Raises:
        DataError: no batch, or inputs that are not finite.
        RangeError: an unknown method, or a quantile or sigma out of range.
        LifecycleError: the model is not converted, or learned ranges are sharded already.
    """
    if method not in ("moving_std", "moving_quantile", "quantile", "max"):
        raise RangeError(
            f"unknown method {method!r}: use moving_std, moving_quantile, quantile or max."
        )
    if not 0 < quantile <= 1 or not sigma > 0:
        raise RangeError(
            f"quantile must be in (0, 1] and sigma above 0, got {quantile} and {sigma}."
        )
    found = [site for site in converted(model) if _needs_data(site.crossbar)]
    sharded = [site.name for site in found if hasattr(site.crossbar.input_range, "full_tensor")]
    if sharded:
        raise LifecycleError(
            f"{sharded[0]}: its learned range is sharded over processes: calibrate before sharding."
        )
    observers: dict[str, _Observer] = {}
    hooks = []
    try:
        for site in converted(model):  # all products are exact, also those that need no data
            make = lambda: _Statistic(method, quantile, sigma)  # noqa: E731
            observers[site.name] = _Observer(site.crossbar, make)
            site.crossbar.observer = observers[site.name]
            step = observers[site.name].step
            if step is not None:
                hooks.append(site.crossbar.register_forward_hook(step, with_kwargs=True))
        with evaluating(model):
            run(model, batches, forward, "calibrating")
    finally:
        for site in converted(model):
            site.crossbar.observer = None
        for hook in hooks:
            hook.remove()
    return _keep(found, observers, method)


def _keep(found: list[Site], observers: dict[str, _Observer], method: str) -> Calibration:
    """Write the results into the crossbars and describe them."""
    reached = [site for site in found if observers[site.name].reached]
    ranges: dict[str, tuple[float, ...]] = {}
    bounds: dict[str, Tensor] = {}
    steps: dict[str, float] = {}
    for site in reached:
        seen, rule = observers[site.name], site.crossbar.hardware.dac.range
        if rule is not None and rule.stored:
            ranges[site.name] = tuple(statistic.result() for statistic in seen.statistics)
        if seen.peaks is not None:
            bounds[site.name] = _relative_bound(site, seen.peaks, ranges.get(site.name))
    drop_offsets([site for site in reached if site.name in ranges or site.name in bounds])
    for site in reached:
        if site.name in ranges:
            _set_range(site, ranges[site.name])
        if site.name in bounds:
            site.crossbar.output_bound = bounds[site.name]
        step = observers[site.name].step
        if step is not None:
            steps[site.name] = step.result(site)
            site.crossbar.output_step = torch.tensor(steps[site.name], device=site.weight.device)
        site.crossbar.keep_record()
    unreached = tuple(site.name for site in found if site not in reached)
    largest = {name: float(bound.max()) for name, bound in bounds.items()}
    return Calibration(method, ranges, largest, unreached, steps)


def _set_range(site: Site, values: tuple[float, ...]) -> None:
    crossbar, here = site.crossbar, site.crossbar.input_range
    value = torch.tensor(values, device=site.weight.device)
    if not isinstance(crossbar.hardware.dac.range, Learned):
        crossbar.input_range = value
    elif isinstance(here, nn.Parameter):
        with torch.no_grad():
            here.copy_(value)  # the same Parameter, which an optimizer may hold already
    else:
        crossbar.input_range = nn.Parameter(value)


def _relative_bound(site: Site, peaks: Tensor, ranges: tuple[float, ...] | None) -> Tensor:
    """Bounds of the columns in units of input range x weight scale, from their peaks.

    Peaks of reads that are converted apart are relative to the range already. A silent column has
    a bound of 1.
    """
    crossbar = site.crossbar
    target = crossbar.target(site.matrix)
    scale = nominal(target, crossbar.hardware, crossbar.geometry).scale.detach().float()
    scale = signal_scale(scale, crossbar.hardware, crossbar.geometry)
    fixed = getattr(crossbar.hardware.dac.range, "value", 1.0)
    unit = torch.tensor(ranges or [fixed] * crossbar.geometry.parts, device=scale.device)
    unit = torch.ones_like(unit) if _reads_apart(crossbar) else unit
    bound = peaks.to(scale.device) / (scale * unit[:, None])
    return crossbar.hardware.adc.on_granules(torch.where(bound > 0, bound, 1.0))
