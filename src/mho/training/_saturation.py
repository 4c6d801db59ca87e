"""Warnings where a learning rate asks for more pulses than trains or cells can take well."""

import warnings

from ..tiles import SWING, DeviceArray
from ._algorithm import Algorithm
from ._state import State

OFTEN = 0.1
"""Share of vectors limited, or of updates with too large a swing, that is worth a warning."""
STEPS = 20


class Watch:
    """Follows how many vectors were limited and how far cells swing, and warns once of each."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float, float]] = {}
        self._warned: set[str] = set()
        self._swings: dict[str, tuple[int, int, float]] = {}

    def look_at_swing(self, name: str, state: State) -> None:
        """Note how far cells swing in one update; warn if that is often too far for `batch`."""
        if not state.rate or (name in self._swings and self._swings[name][0] < 0):
            return
        array: DeviceArray = next(iter(state.arrays.values()))
        steps, many, most = self._swings.get(name, (0, 0, 0.0))
        swing = array.saturation.swing
        steps, many, most = steps + 1, many + (swing > SWING), max(most, swing)
        self._swings[name] = (steps, many, most) if steps < STEPS else (0, 0, 0.0)
        if steps < STEPS or many <= OFTEN * steps:
            return
        self._swings[name] = (-1, 0, 0.0)
        warnings.warn(
            f"{name}: in {many / steps:.0%} of the updates a cell gets up to {most:.2g} of the "
            f"pulses that cross its range, more than {SWING}: the order of pulses matters then, "
            f"which fidelity {state.matrix.pulses.fidelity!r} does not keep. Use fidelity 'pulse', "
            "smaller mini-batches, or a lower learning rate.",
            stacklevel=5,
        )

    def look(self, name: str, algorithm: Algorithm, state: State, lr: float) -> None:
        """Note what the last update of a matrix lost; warn if that happens often."""
        if not lr or name in self._warned or not state.rate:
            return
        array: DeviceArray = next(iter(state.arrays.values()))
        steps, shares, part = self._seen.pop(name, (0, 0.0, 1.0))
        steps, shares = steps + 1, shares + array.saturation.share
        part = min(part, array.saturation.limit / state.rate)
        if steps < STEPS:
            self._seen[name] = (steps, shares, part)
            return
        if shares / steps <= OFTEN:
            return
        self._warned.add(name)
        setting = algorithm.without_saturation(part, lr)
        warnings.warn(
            f"{name}: {shares / steps:.0%} of the vectors ask for more pulses than their "
            f"{state.matrix.pulses.slots} slots have, so their errors are limited. Use {setting}, "
            "more slots, or coarser devices; if the loss is scaled, give its GradScaler.",
            stacklevel=5,
        )
