"""How likely pulse trains are for a device, with the gradient through its formula."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cells import PulsedDevice
from ._filter import forward, sensitivities
from ._parameters import Layout
from ._pulse_step import PulseStep
from ._trace import Trace

Array = NDArray[np.float64]
STEP = 1e-3  # of the difference quotient from free numbers to cells, which is smooth and simple
CYCLE, READING = "cycle noise", "reading noise"


class Events(NamedTuple):
    """Trains as one sequence: a pulse or none (up 1, -1, 0), and perhaps a reading (else nan)."""

    up: NDArray[np.int64]
    device: NDArray[np.int64]
    first: NDArray[np.bool_]
    reading: Array


class Filtered(NamedTuple):
    """What the filter makes of the events; rows without a reading are nan in the last two."""

    before: Array
    after: Array
    errors: Array
    variances: Array


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Trains, and what of a device is fitted to them.

    The free numbers are the layout's own parameters of each device, then the shared ones, then the
    logarithms of the noises that are not fixed.

    Attributes:
        events: of all trains.
        layout: what is fitted.
        devices: how many devices differ; 1 takes all trains as one device's.
        noises: those of cycle and reading noise that are fitted.
        given: cycle noise, and standard deviation of a reading, where they are not fitted.
        floor: least standard deviation of a reading.
    """

    events: Events
    layout: Layout
    devices: int
    noises: tuple[str, ...]
    given: dict[str, float]
    floor: float

    @property
    def own(self) -> list[int]:
        """Parameters that differ from device to device."""
        return [k for k, p in enumerate(self.layout.parameters) if p.own and self.devices > 1]

    @property
    def shared(self) -> list[int]:
        """Parameters that all devices share."""
        own = set(self.own)
        return [k for k in range(len(self.layout.parameters)) if k not in own]

    @property
    def size(self) -> int:
        """How many free numbers there are."""
        return self.devices * len(self.own) + len(self.shared) + len(self.noises)

    def places(self, device: int) -> NDArray[np.int64]:
        """Where among all free numbers those of one device are: parameters, then noises."""
        own, shared = self.own, self.shared
        places = np.empty(len(self.layout.parameters) + len(self.noises), np.int64)
        places[own] = device * len(own) + np.arange(len(own))
        start = self.devices * len(own)
        places[shared] = start + np.arange(len(shared))
        places[len(own) + len(shared) :] = start + len(shared) + np.arange(len(self.noises))
        return places

    def spread_out(self, pooled: Array, other: "Likelihood") -> Array:
        """Return free numbers for all devices from those of the same fit with one device."""
        free = np.empty(self.size)
        for device in range(self.devices):
            free[self.places(device)] = pooled[other.places(0)]
        return free

    def cycle(self, local: Array) -> float:
        """Return the noise of a pulse."""
        if CYCLE not in self.noises:
            return self.given[CYCLE]
        return float(np.exp(local[len(self.layout.parameters)]))

    def reading(self, local: Array) -> float:
        """Return the variance of a reading."""
        if READING not in self.noises:
            return self.given[READING] ** 2 + self.floor**2
        return float(np.exp(2 * local[-1])) + self.floor**2

    def device_of(self, local: Array) -> PulsedDevice:
        """Return one device's description, not validated."""
        count = len(self.layout.parameters)
        device = self.layout.constructed(local[:count])
        return device.model_copy(update={"cycle_noise": self.cycle(local)})

    def filtered(self, free: Array, *, read: bool = True) -> Filtered:
        """Run the filter; without reading, states follow from each train's first reading alone."""
        locals_ = [free[self.places(d)] for d in range(self.devices)]
        cells = np.array([_cells(self.device_of(local)) for local in locals_])
        constants = _constants(self.device_of(locals_[0]))
        count = len(self.events.up)
        state = Filtered(*(np.full((count, *s), np.nan) for s in ((2,), (2,), (), ())))
        events = self.events
        if not read:
            events = events._replace(reading=np.where(events.first, events.reading, np.nan))
        run = forward(self.layout.device.formula)
        run(tuple(events), tuple(cells.T.copy()), constants, self.reading(locals_[0]), *state)
        return state

    def value(self, free: Array) -> float:
        """Return minus the logarithm of the likelihood of all readings but the first ones."""
        with np.errstate(all="ignore"):
            found = self.filtered(free)
            errors, variances = found.errors, found.variances
            kept = ~np.isnan(self.events.reading) & ~self.events.first
            terms = errors[kept] ** 2 / variances[kept] + np.log(2 * np.pi * variances[kept])
        total = 0.5 * float(terms.sum())
        return total if np.isfinite(total) else np.inf

    def derivatives(self, free: Array) -> tuple[Array, Array]:
        """Return the gradient of `value` and its expected second derivative (Fisher information).

        The formula is differentiated by torch, along every parameter, at all states at once; the
        filter carries these derivatives from pulse to pulse.
        """
        found = self.filtered(free)
        slopes, direct = self._local(free, found.before)
        count = direct.shape[2]
        d_noise = np.zeros(count)
        noise = self.reading(free[self.places(0)])
        if READING in self.noises:
            d_noise[-1] = 2 * (noise - self.floor**2)
        d_error, d_var = np.zeros((len(direct), count)), np.zeros((len(direct), count))
        sensitivities(
            tuple(self.events), noise, d_noise, found.after, found.errors, found.variances,
            slopes, direct, d_error, d_var,
        )  # fmt: skip
        gradient, fisher = np.zeros(self.size), np.zeros((self.size, self.size))
        for device in range(self.devices):
            rows = (self.events.device == device) & ~np.isnan(found.errors)
            e, s, de, ds = found.errors[rows], found.variances[rows], d_error[rows], d_var[rows]
            weight = (1 - e**2 / s) / (2 * s)
            places = self.places(device)
            gradient[places] += (e / s) @ de + weight @ ds
            fisher[np.ix_(places, places)] += (de.T / s) @ de + (ds.T / (2 * s**2)) @ ds
        return gradient, fisher

    def _local(self, free: Array, before: Array) -> tuple[Array, Array]:
        """Derivatives of (mean, variance) after each pulse: by those before, and by parameters."""
        pulsed = self.events.up != 0
        which, up = self.events.device[pulsed], self.events.up[pulsed] > 0
        locals_ = [free[self.places(d)] for d in range(self.devices)]
        size = len(locals_[0])

        def at(shift: Array) -> tuple[Array, list[Array]]:
            moved = [self.device_of(local + shift) for local in locals_]
            low, high, size_up, size_down, shape_up, shape_down = np.array(
                [_cells(device) for device in moved]
            )[which].T
            sides = np.where(up, size_up, size_down), np.where(up, shape_up, shape_down)
            constants = [np.asarray(c, np.float64) for c in _constants(moved[0])]
            return np.array([*sides, low, high]), constants

        cells, constants = at(np.zeros(size))
        cell_moves, constant_moves = [], []
        for shift in np.eye(size) * STEP:
            (c1, k1), (c0, k0) = at(shift), at(-shift)
            cell_moves.append((c1 - c0) / (2 * STEP))
            constant_moves.append([(a - b) / (2 * STEP) for a, b in zip(k1, k0, strict=True)])
        step = PulseStep(self.layout.device.formula, up)
        slopes, direct = (np.zeros((len(pulsed), 2, k)) for k in (2, size))
        slopes[pulsed], direct[pulsed] = step.derivatives(
            before[pulsed].T, cells, constants, np.array(cell_moves), constant_moves
        )
        return slopes, direct


def events_of(trace: Trace, zero: float, scale: float, *, pooled: bool) -> Events:
    """Return trains as events, values as relative weights (value - zero) / scale."""
    names = {name: 0 if pooled else k for k, name in enumerate(trace.devices)}
    parts: list[tuple[Any, ...]] = []
    for train in trace.trains:
        for k, (pulses, value) in enumerate(zip(train.pulses, train.values, strict=True)):
            relative, device = (value - zero) / scale, names[train.device]
            if k == 0 or pulses == 0:
                parts.append((0, device, k == 0, relative))
                continue
            sign = 1 if pulses > 0 else -1
            parts += [(sign, device, False, np.nan)] * (abs(int(pulses)) - 1)
            parts.append((sign, device, False, relative))
    up, device, first, reading = zip(*parts, strict=True)
    return Events(np.array(up), np.array(device), np.array(first), np.array(reading, np.float64))


def _cells(device: PulsedDevice) -> Array:
    return np.array([float(part) for part in device.mean_cell()[:6]])


def _constants(device: PulsedDevice) -> tuple[Any, ...]:
    constants = device.constants
    return tuple(c if isinstance(c, np.ndarray) else float(c) for c in constants)
