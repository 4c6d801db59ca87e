"""`fit_response`: the device whose pulses a trace shows."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deploy import progress
from ..errors import DataError, RangeError
from ._fitted import fitted
from ._fitted_response import FittedResponse
from ._likelihood import CYCLE, READING, Likelihood, events_of
from ._parameters import Layout, layout_of
from ._search import Found, search
from ._starts import Guess, guess
from ._trace import Trace, trace_of, units_of

NOISES = {"cycle_noise": CYCLE, "write_noise": READING}
MARGINS = (0.001, 0.1, 0.3)  # of the range, between readings and bounds, by restart
# With z = 2 v / (high - low), from about -1 to 1.
STARTS = {
    "exponential_step": {
        "scale": 1.0, "shift": 0.0, "amplitude_up": 0.02, "amplitude_down": 0.02,
        "rate_up": 3.0, "rate_down": 3.0,
    },
}  # fmt: skip
FLOOR = 1e-6  # least noise of a reading, as a share of the range of readings


def fit_response(
    trace: Any,
    kind: str = "soft_bounds",
    *,
    fixed: Mapping[str, Any] | None = None,
    free: Sequence[str] = (),
    zero: float | None = None,
    scale: float | None = None,
    nodes: int = 8,
    restarts: int = 3,
    seed: int = 0,
    confidence: float = 0.95,
) -> FittedResponse:
    """Fit a pulse response to measured pulse trains by maximum likelihood.

    The state follows the response with the noise of each pulse, ends at its bounds, and is read
    with noise; an extended Kalman filter gives each reading's probability given those before it, so
    that noise of pulses and of readings are told apart, and errors do not add up over a train. The
    gradient goes through the response's formula. Several devices share what does not differ from
    cell to cell; what does is fitted for each, and gives means and spreads.

    Args:
        trace: a CSV file (`read_trace` describes it), a pair of arrays (pulses, values), or an
            `mho.Trace`.
        kind: of a single device.
        fixed: fields of the device that are known, such as `{"low": -1.0}`, noises included
            (`cycle_noise`, and `write_noise: 0`).
        free: fields to fit beside those of `Layout`, such as `noise_slope` of exponential_step.
        zero: value at weight 0; None: 0 for weights, the middle of the readings for conductances.
        scale: value per weight of 1; None: 1 for weights, half the range for conductances.
        nodes: length of tables (piecewise_step).
        restarts: searches from other starts, of which the best counts.
        seed: of the starts.
        confidence: of the intervals.

    Raises:
        DataError: the trace is unreadable, too short, has no pulses in a direction that is to be
            fitted, or has readings beyond bounds that are fixed.
        RangeError: an argument has no meaning.
        SpecError: the kind or a field is unknown, or has a value it cannot have.
    """
    data = trace_of(trace)
    given = dict(fixed or {})
    zero, scale = units_of(data.range, data.conductance, zero, scale)
    _check(restarts, nodes, confidence)
    seen = guess(data, zero, scale)
    room = 0.02 * (seen.high - seen.low)
    if not seen.low - room < 0 < seen.high + room:
        raise RangeError(
            f"weights run from {seen.low:.4g} to {seen.high:.4g}, but 0, from which training "
            "starts, must lie between; give `zero`, the value at weight 0"
        )
    noises = {name: given.pop(name) for name in NOISES if name in given}
    _check_noises(noises)
    layout = layout_of(kind, given, free, _starts(seen, 0.0, kind), nodes)
    _check_data(data, layout, noises, seen, given)
    pooled = _likelihood(data, layout, noises, seen, zero, scale, pooled=True)
    best, agreeing = _best(pooled, seen, restarts, seed)
    joint = pooled
    if len(data.devices) > 1:
        joint = _likelihood(data, layout, noises, seen, zero, scale, pooled=False)
        best = search(joint, joint.spread_out(best.free, pooled))
    return fitted(data, joint, best, (zero, scale), confidence, (agreeing, restarts))


def _check(restarts: int, nodes: int, confidence: float) -> None:
    for name, value, least in (("restarts", restarts, 1), ("nodes", nodes, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RangeError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if not 0 < confidence < 1:
        raise RangeError(f"confidence must be above 0 and below 1, got {confidence!r}")


def _check_noises(noises: Mapping[str, Any]) -> None:
    if noises.get("write_noise"):
        raise RangeError(
            f"write_noise={noises['write_noise']!r} is in units of the step, which is fitted; it "
            "can only be fixed at 0"
        )
    cycle = noises.get("cycle_noise", 0.0)
    if isinstance(cycle, bool) or not isinstance(cycle, int | float) or not 0 <= cycle < np.inf:
        raise RangeError(f"cycle_noise must be a finite number of at least 0, got {cycle!r}")


def _check_data(
    data: Trace,
    layout: Layout,
    noises: Mapping[str, Any],
    seen: Guess,
    given: Mapping[str, Any],
) -> None:
    names = [p.name for p in layout.parameters]
    for count, way in zip(data.applied(), ("up", "down"), strict=True):
        needed = any(name.endswith(f"_{way}") or name.startswith(f"{way} ") for name in names)
        if count == 0 and needed:
            raise DataError(
                f"{data.name} has no pulses {way}, so that nothing is known of that direction; "
                "measure both, or fix `asymmetry` (and what else has a direction)"
            )
    readings = sum(len(train.values) - 1 for train in data.trains)
    count = len(names) + 2 - len(noises)
    if readings < 2 * count:
        raise DataError(
            f"{data.name} is too short: {readings} readings after pulses for {count} parameters; "
            f"{2 * count} are the least, hundreds are better"
        )
    slack = 5 * seen.reading + 1e-6 * (seen.high - seen.low)
    for name, beyond in (("low", -1), ("high", 1)):
        reached = getattr(seen, name)
        if name in given and beyond * (reached - given[name]) > slack:
            raise DataError(
                f"{name}={given[name]:g} is fixed, but readings reach {reached:.4g} (in relative "
                f"weights, with noise of about {seen.reading:.2g}); give a wider bound"
            )


def _starts(seen: Guess, margin: float, kind: str) -> dict[str, float]:
    room, mean = margin * (seen.high - seen.low), (seen.up + seen.down) / 2
    tiny = 1e-6 * (seen.high - seen.low)
    low, high = min(seen.low - room, -tiny), max(seen.high + room, tiny)
    return {
        "step_up": seen.up, "step_down": seen.down, "step": mean, "asymmetry": 0.0,
        "rate_up": seen.up / high, "rate_down": seen.down / -low, "rate": mean / (high - low),
        "low": low, "high": high, "pulses": seen.run, "gamma_up": 0.3, "gamma_down": 0.3,
        **STARTS.get(kind, {}),
    }  # fmt: skip


def _likelihood(
    data: Trace,
    layout: Layout,
    noises: Mapping[str, Any],
    seen: Guess,
    zero: float,
    scale: float,
    *,
    pooled: bool,
) -> Likelihood:
    known = {NOISES[name]: float(value) for name, value in noises.items()}
    return Likelihood(
        events=events_of(data, zero, scale, pooled=pooled),
        layout=layout,
        devices=1 if pooled else len(data.devices),
        noises=tuple(name for name in (CYCLE, READING) if name not in known),
        given=known,
        floor=FLOOR * (seen.high - seen.low),
    )


def _best(likelihood: Likelihood, seen: Guess, restarts: int, seed: int) -> tuple[Found, int]:
    """Return the best of several searches, and how many of them agree on it."""
    random = np.random.default_rng(seed)
    found = []
    with closing(progress(range(restarts), "fitting", restarts)) as bar:
        for k in bar:
            found.append(search(likelihood, _start(likelihood, seen, k, random)))
    best = min(found, key=lambda one: one.value)
    if not np.isfinite(best.value):
        raise DataError("no start explains the trace; is its unit right, and the kind of device?")
    return best, sum(one.value < best.value + 0.1 for one in found)


def _start(
    likelihood: Likelihood, seen: Guess, k: int, random: np.random.Generator
) -> NDArray[np.float64]:
    kind = likelihood.layout.device.model_fields["kind"].default
    margin = _starts(seen, MARGINS[k % len(MARGINS)], kind)
    free = [p.free(margin.get(p.name, p.start)) for p in likelihood.layout.parameters]
    if k % 2:  # numbers that may have either sign are sought on both sides
        free = [
            -x if p.law == "free" else x
            for p, x in zip(likelihood.layout.parameters, free, strict=True)
        ]
    # A start is wrong, which much noise of pulses forgives: the filter then follows the readings.
    cycle = max(seen.cycle, 1.0) if k % 2 == 0 else seen.cycle
    noise = {CYCLE: np.log(cycle), READING: np.log(seen.reading)}
    free += [noise[name] for name in likelihood.noises]
    jitter = random.normal(0.0, 0.4, len(free)) if k else np.zeros(len(free))
    bounds = [p.name in ("low", "high") for p in likelihood.layout.parameters]
    jitter[: len(bounds)][bounds] = 0.0  # they start at a margin of their own
    return np.array(free) + jitter
