"""The result of a fit: a device with intervals, residuals and spreads, that plots itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cells import PulsedDevice
from ..spec import format_quantity, render_table
from ..tiles import Hardware
from ._as_hardware import hardware_of, yaml_of
from ._trace import Trace

Array = NDArray[np.float64]


class FittedParameter(NamedTuple):
    """One fitted number.

    `low` and `high` are the ends of its confidence interval, of the mean over devices where there
    are several; `spread` is the standard deviation over devices, less what their error bars
    explain. What is not `known` hardly matters to the trace: its interval is no use.
    """

    name: str
    value: float
    low: float
    high: float
    known: bool = True
    spread: float | None = None


class Course(NamedTuple):
    """All readings of the trains one after another, in relative weights.

    `error` is that of the prediction from the readings before, `standard` the same over its
    standard deviation (both nan at the first reading of a train). `alone` is the mean predicted
    from the first reading only, `alone_std` the standard deviation about it.
    """

    reading: Array
    first: NDArray[np.bool_]
    error: Array
    standard: Array
    alone: Array
    alone_std: Array


@dataclass(frozen=True, eq=False)
class FittedResponse:
    """A device fitted to pulse trains; prints as a table.

    Attributes:
        device: the mean device with its noises and spreads, for a `Cell` or a `Hardware`.
        parameters: what was fitted, with intervals; sizes and exponents by direction.
        by_device: the fitted numbers of each device that was told apart.
        trace: the data.
        zero: value at weight 0.
        scale: value per weight of 1.
        course: readings, predictions and residuals.
        log_likelihood: of all readings but the first ones.
        bic: Bayesian information criterion; the kind with the lowest explains a trace best.
        agreement: how many searches came to the best, of how many.
        converged: whether the last search ended by itself.
        confidence: of the intervals.
    """

    device: PulsedDevice
    parameters: tuple[FittedParameter, ...]
    by_device: dict[str, dict[str, float]]
    trace: Trace
    zero: float
    scale: float
    course: Course
    log_likelihood: float
    bic: float
    agreement: tuple[int, int]
    converged: bool
    confidence: float

    def __getitem__(self, name: str) -> FittedParameter:
        return next(p for p in self.parameters if p.name == name)

    @property
    def residual(self) -> float:
        """Root mean square error of predicting the next reading, over the range of readings."""
        return float(np.sqrt(np.nanmean(self.course.error**2)) / np.ptp(self.course.reading))

    @property
    def deviation(self) -> float:
        """The same of predicting all readings of a train from its first one: the mean curve."""
        course = self.course
        away = (course.reading - course.alone)[~course.first]
        return float(np.sqrt(np.mean(away**2)) / np.ptp(course.reading))

    @property
    def correlation(self) -> float:
        """Correlation of neighboring residuals, near 0 where the response has the right form."""
        z = self.course.standard
        pairs = z[1:] * z[:-1]
        return float(np.nanmean(pairs) / np.nanmean(z**2))

    @property
    def hardware(self) -> Hardware:
        """Ideal arrays of this device, of signed cells; see `to_yaml`."""
        return hardware_of(self.device, self.scale if self.trace.conductance else None)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the hardware as a document for `mho.load`; write it to a file as well.

        For conductances, g_max is `scale`, the conductance per weight of 1.
        """
        source = f"mho.fit_response: {self.device.kind}, fitted to {self.trace.name}"
        devices, trains = len(self.trace.devices), len(self.trace.trains)
        fitted_on = (
            f"{len(self.course.reading)} readings of {trains} pulse trains on {devices} devices; "
            f"value at weight 0: {self.zero:.6g}, per weight of 1: {self.scale:.6g}"
        )
        return yaml_of(self.hardware, source, fitted_on, path)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per fitted number with the figures of the table."""
        return [dict(parameter._asdict()) for parameter in self.parameters]

    def table(self) -> str:
        """Return the table and the quality of the fit as text."""
        spread = any(p.spread is not None for p in self.parameters)
        header = [self.device.kind, "value", f"{self.confidence:.0%} interval"]
        header += ["spread over devices"] if spread else []
        return "\n".join((
            render_table(self._title(), header, [self._row(p, spread) for p in self.parameters]),
            self._quality(),
        ))  # fmt: skip

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw data against the fit: trains, steps over state, and residuals; or save it."""
        from ..deploy import save
        from ._fit_plot import plot_fit

        figure = plot_fit(self)
        return figure if path is None else save(figure, path)

    def _title(self) -> str:
        trains, devices = len(self.trace.trains), len(self.trace.devices)
        unit = ""
        if self.trace.conductance:
            zero, one = format_quantity(self.zero, "S"), format_quantity(self.scale, "S")
            unit = f"; weight 0 is {zero}, weight 1 is {one} more"
        return (
            f"{self.trace.name}: {len(self.course.reading)} readings, {trains} "
            f"train{'s'[: trains - 1]}, {devices} device{'s'[: devices - 1]}{unit}"
        )

    def _row(self, p: FittedParameter, spread: bool) -> list[str]:
        value, interval = f"{p.value:.5g}", f"{p.low:.5g} to {p.high:.5g}"
        if not p.known and p.name in ("cycle_noise", "write_noise"):
            value, interval = "none found", ""
        elif not p.known:
            interval = "not determined by the trace"
        row = [p.name, value, interval]
        if spread:
            row.append("" if p.spread is None else f"{p.spread:.3g}")
        return row

    def _quality(self) -> str:
        best, of = self.agreement
        lines = [
            f"next reading predicted to {self.residual:.2%} of the range, whole trains from their "
            f"first reading to {self.deviation:.2%}",
            f"neighboring residuals correlate by {self.correlation:+.3f}; log likelihood "
            f"{self.log_likelihood:.1f}, BIC {self.bic:.1f}; {best} of {of} searches agree",
        ]
        if not self.converged:
            lines.append("the last search did not converge: intervals may be wrong")
        return "\n".join(lines)
