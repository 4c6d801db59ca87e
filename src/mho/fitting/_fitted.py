"""From the maximum of a likelihood to a device with its intervals and spreads."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from ..cells import PulsedDevice
from ._fitted_response import Course, FittedParameter, FittedResponse
from ._likelihood import CYCLE, READING, Likelihood
from ._parameters import PAIRS, Parameter
from ._search import Found, covariance
from ._trace import Trace

Array = NDArray[np.float64]
REACHED = 1.92  # loss of log likelihood that a 95 % interval allows for
ABSOLUTE = ("gamma_up", "gamma_down")  # fields of which the spread over cells is not relative


def fitted(
    data: Trace,
    likelihood: Likelihood,
    found: Found,
    units: tuple[float, float],
    confidence: float,
    agreement: tuple[int, int],
) -> FittedResponse:
    """Return the result of a fit; see `FittedResponse`."""
    errors = np.sqrt(np.diag(covariance(found.fisher)))
    places = np.array([likelihood.places(d) for d in range(likelihood.devices)])
    free, error = found.free[places], errors[places]
    parameters = likelihood.layout.parameters
    rows = [
        _parameter(p, free[:, k], error[:, k], k in likelihood.own, confidence)
        for k, p in enumerate(parameters)
    ]
    rows = [_bound(row, likelihood, found, k) for k, row in enumerate(rows)]
    values = np.array([[p.value(x) for p, x in zip(parameters, row)] for row in free])  # noqa: B905
    device, noises = _device(likelihood, rows, values, free[0], error[0], confidence)
    count = int((~np.isnan(likelihood.events.reading) & ~likelihood.events.first).sum())
    return FittedResponse(
        device=device,
        parameters=(*rows, *noises),
        by_device={
            name: {p.name: float(x) for p, x in zip(parameters, values[k], strict=True)}
            for k, name in enumerate(data.devices[: likelihood.devices])
        },
        trace=data,
        zero=units[0],
        scale=units[1],
        course=_course(likelihood, found.free),
        log_likelihood=-found.value,
        bic=2 * found.value + likelihood.size * float(np.log(count)),
        agreement=agreement,
        converged=found.converged,
        confidence=confidence,
    )


def _bound(row: FittedParameter, likelihood: Likelihood, found: Found, k: int) -> FittedParameter:
    """Find out whether a bound is one: moved away by its own size, does it change anything?

    Where no train gets there, the likelihood is flat beyond the largest reading, which a curvature
    at that reading does not tell.
    """
    if row.name not in ("low", "high") or not row.known:
        return row
    moved = found.free.copy()
    for device in range(likelihood.devices):
        moved[likelihood.places(device)[k]] += np.log(2.0)
    seen = likelihood.value(moved) - found.value > likelihood.devices * REACHED
    return row._replace(known=seen)


def _parameter(
    p: Parameter, free: Array, error: Array, own: bool, confidence: float
) -> FittedParameter:
    """One number and its interval: by its error bar, or over devices if there are several."""
    known = bool((error < 1.0).all())
    if not own:
        half = norm.ppf(0.5 + confidence / 2) * error[0]
        ends = sorted((p.value(free[0] - half), p.value(free[0] + half)))
        return FittedParameter(p.name, p.value(free[0]), *ends, known=known)
    values = np.array([p.value(x) for x in free])
    slope = np.array([(p.value(x + 1e-4) - p.value(x - 1e-4)) / 2e-4 for x in free])
    mean, half = values.mean(), 0.0
    half = t.ppf(0.5 + confidence / 2, len(free) - 1) * values.std(ddof=1) / np.sqrt(len(free))
    spread = _beyond(values, slope * error)
    return FittedParameter(
        p.name, float(mean), float(mean - half), float(mean + half), known=known, spread=spread
    )


def _beyond(values: Array, errors: Array) -> float:
    """Standard deviation over devices, less what the error bars of each explain."""
    return float(np.sqrt(max(values.var(ddof=1) - float((errors**2).mean()), 0.0)))


def _device(
    likelihood: Likelihood,
    rows: list[FittedParameter],
    values: Array,
    free: Array,
    error: Array,
    confidence: float,
) -> tuple[PulsedDevice, list[FittedParameter]]:
    """The device of the mean values with its spreads and noises, and the noises as parameters."""
    layout, half = likelihood.layout, norm.ppf(0.5 + confidence / 2)
    fields = layout.fields_of({row.name: row.value for row in rows})
    fields |= _spreads(layout.device, rows, values, fields)
    mean = sum(layout.device(**fields).mean_sizes) / 2
    names = {CYCLE: ("cycle_noise", 1.0), READING: ("write_noise", mean)}
    noises = []
    for k, name in enumerate(likelihood.noises, len(layout.parameters)):
        field, unit = names[name]
        size, bar = np.exp(free[k]) / unit, half * error[k]
        known = bool(error[k] < 1.0)
        ends = (size * np.exp(-bar), size * np.exp(bar)) if known else (0.0, np.inf)
        noises.append(
            FittedParameter(field, float(size) if known else 0.0, *map(float, ends), known=known)
        )
        fields[field] = float(size) if known else 0.0
    if CYCLE in likelihood.given:
        fields["cycle_noise"] = likelihood.given[CYCLE]
    return layout.device(**fields), noises


def _spreads(
    device: type[PulsedDevice],
    rows: list[FittedParameter],
    values: Array,
    fields: Mapping[str, Any],
) -> dict[str, float]:
    """Fields of the spreads over devices, by the laws of `PulsedDevice`."""
    if len(values) < 2:
        return {}
    known = {row.name: (k, row) for k, row in enumerate(rows) if row.spread is not None}
    found: dict[str, float] = {}
    for name, (k, row) in known.items():
        if name.endswith("_down") and name not in ABSOLUTE:
            continue
        if name.endswith("_up") and name not in ABSOLUTE:
            field = name[:-3]
            other, down = known[f"{field}_down"]
            size = fields[field]
            gain, skew = ((values[:, k] + s * values[:, other]) / 2 for s in (1, -1))
            # The error bars of both directions are taken as independent.
            noise = (_excess(values[:, k], row) + _excess(values[:, other], down)) / 4
            which = "step" if field == "rate" else field
            asymmetry = next(a for a, sizes in PAIRS.items() if field in sizes)
            for target, part in ((which, gain), (asymmetry, skew)):
                variance = max(float(part.var(ddof=1)) - noise, 0.0)
                found[f"{target}_spread"] = float(np.sqrt(variance)) / size
        else:
            absolute = name in ABSOLUTE or not row.value
            found[f"{name}_spread"] = float(row.spread or 0.0) / (1 if absolute else abs(row.value))
    return {name: value for name, value in found.items() if name in device.model_fields}


def _excess(values: Array, row: FittedParameter) -> float:
    """Variance over devices that their error bars explain."""
    return float(values.var(ddof=1)) - float(row.spread or 0.0) ** 2


def _course(likelihood: Likelihood, free: Array) -> Course:
    """The readings, what is predicted from those before, and from the first of each train."""
    step, run = likelihood.filtered(free), likelihood.filtered(free, read=False)
    rows = ~np.isnan(likelihood.events.reading)
    first = likelihood.events.first[rows]
    noise = likelihood.reading(free[likelihood.places(0)])
    reading = likelihood.events.reading[rows]
    return Course(
        reading=reading,
        first=first,
        error=np.where(first, np.nan, step.errors[rows]),
        standard=np.where(first, np.nan, step.errors[rows] / np.sqrt(step.variances[rows])),
        alone=np.where(first, reading, run.after[rows, 0]),
        alone_std=np.sqrt(np.where(first, 0.0, run.after[rows, 1]) + noise),
    )
