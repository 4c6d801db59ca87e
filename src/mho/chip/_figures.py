"""The constants of a chip as plain numbers: one scenario, one node, one supply."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..errors import SpecError
from ..spec import Spec, nearest
from ._constant import SCENARIOS, Constant, Scenario

if TYPE_CHECKING:
    from ._chip import Chip


def constants(spec: Spec, path: str = "") -> Iterator[tuple[str, Constant]]:
    """Yield (dotted path, constant) of everything that a spec is made of."""
    for name in type(spec).model_fields:
        value, here = getattr(spec, name), f"{path}.{name}" if path else name
        if isinstance(value, Constant):
            yield here, value
        elif isinstance(value, Spec):
            yield from constants(value, here)


def delay(voltage: float, threshold: float, exponent: float) -> float:
    """Return the relative gate delay V / (V - V_t)^alpha at a voltage."""
    return voltage / (voltage - threshold) ** exponent


class Figures:
    """The numbers of a chip in SI units.

    Args:
        chip: the chip.
        scenario: which end of every constant's range, or its middle.
        scale: factors on constants, by path.
    """

    def __init__(
        self,
        chip: "Chip",
        scenario: Scenario = "nominal",
        scale: Mapping[str, float] | None = None,
    ) -> None:
        if scenario not in SCENARIOS:
            raise SpecError(f"unknown scenario {scenario!r}: use {', '.join(SCENARIOS)}.")
        self.chip = chip
        self.scenario: Scenario = scenario
        known = dict(constants(chip))
        for path in scale or {}:
            if path not in known:
                raise SpecError(f"no constant {path!r}{nearest(path, known)}")
        self._numbers = {
            path: constant.at(chip.node, scenario) * (scale or {}).get(path, 1.0)
            for path, constant in known.items()
        }
        self._numbers |= {p: self._numbers[p] * f for p, f in self._at_supply(known).items()}

    def _at_supply(self, known: Mapping[str, Constant]) -> dict[str, float]:
        """Return what the supply voltage multiplies constants with."""
        supply = self.chip.supply
        if supply is None:
            return {}
        law = self("supply.threshold"), self("supply.exponent")
        slower = delay(supply.voltage, *law) / delay(supply.reference, *law)
        square = (supply.voltage / supply.reference) ** 2
        found = {path: square for path, c in known.items() if c.supply == "square"}
        for path, constant in known.items():
            if constant.supply == "delay":
                found[path] = 1 / slower if constant.more_is_better else slower
        return found

    def __call__(self, path: str) -> float:
        """Return a constant by its path; 0 where the chip has none there."""
        return self._numbers.get(path, 0.0)
