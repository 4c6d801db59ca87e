"""A number of a chip with what makes it believable: unit, source, node, and how it scales."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..errors import SpecError
from ..spec import Meters, Spec, format_quantity, parse

Scenario = Literal["optimistic", "nominal", "pessimistic"]
SCENARIOS: tuple[Scenario, ...] = ("optimistic", "nominal", "pessimistic")
NODE_POWER = {"none": 0, "linear": 1, "quadratic": 2}


class Constant(Spec):
    """A cited number; its members say which dimension it has and what is plausible.

    At a chip's node L and supply V, from the constant's own node L0 and the reference supply V0,

        value (L / L0)^p  s(V) / s(V0)

    with p = 0, 1 or 2 (`scaling`) and s = 1, V^2 or the gate delay (`supply`). Linear is the
    energy C V^2 of a capacitance that shrinks with its length at a constant supply; quadratic is
    the area of an ideal shrink.
    """

    dimension: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = float("inf")
    more_is_better: ClassVar[bool] = False

    value: float = Field(ge=0, description="The nominal number, in `unit`.")
    unit: str = Field(description="Its unit, such as pJ; 1 for a pure number.")
    source: str = Field(
        description="Where it is from: paper and table, figure or equation, or how it was derived."
    )
    node: Meters | None = Field(
        default=None, gt=0, description="Technology node of the source [m], 14 nm and the like."
    )
    scaling: Literal["none", "linear", "quadratic"] = Field(
        default="none", description="Power of (chip's node / source's node) it is multiplied with."
    )
    supply: Literal["none", "square", "delay"] = Field(
        default="none", description="How it follows the supply voltage, if the chip has one."
    )
    factor: float | None = Field(
        default=None, ge=1, description="Optimistic and pessimistic are better and worse by this."
    )
    optimistic: float | None = Field(
        default=None, ge=0, description="Optimistic number in `unit`, instead of a factor."
    )
    pessimistic: float | None = Field(
        default=None, ge=0, description="Pessimistic number in `unit`, instead of a factor."
    )

    @model_validator(mode="before")
    @classmethod
    def _cited(cls, data: Any) -> Any:
        if isinstance(data, Constant):
            return data
        if not isinstance(data, dict):
            raise ValueError(
                f"a constant is {{value, unit, source, ...}}, not the bare number {data!r}: "
                "a number without its source is not believed"
            )
        if not str(data.get("source") or "").strip():
            raise ValueError(
                "a constant needs its `source`: the paper with table, figure or equation, or how "
                "it was derived"
            )
        return data

    @model_validator(mode="after")
    def _consistent(self) -> "Constant":
        pair = (self.optimistic, self.pessimistic)
        if (self.factor is None) == (None in pair) or (self.factor and pair != (None, None)):
            raise ValueError("give `factor`, or `optimistic` and `pessimistic`: the range of truth")
        if self.factor is None:
            best, worst = (self.number(s) for s in ("optimistic", "pessimistic"))
            middle = self.number()
            ordered = best >= middle >= worst if self.more_is_better else best <= middle <= worst
            if not ordered:
                raise ValueError("the nominal value must lie between optimistic and pessimistic")
        if self.more_is_better and not self.number("pessimistic"):
            raise ValueError(f"a rate of 0 {self.unit} never ends: give a number above 0")
        if self.scaling != "none" and self.node is None:
            raise ValueError(f"`scaling: {self.scaling}` needs the `node` that it starts from")
        number = self.number()
        if number and not self.low <= number <= self.high:
            unit = self.dimension
            raise ValueError(
                f"{self.value:g} {self.unit} is not plausible: expected "
                f"{format_quantity(self.low, unit)} to {format_quantity(self.high, unit)}"
            )
        return self

    def number(self, scenario: Scenario = "nominal") -> float:
        """Return the number in SI units at the source's own node and the reference supply."""
        value = self.value
        if scenario != "nominal" and self.factor is not None:
            up = (scenario == "optimistic") == self.more_is_better
            value = value * self.factor if up else value / self.factor
        elif scenario == "optimistic":
            value = self.optimistic or 0.0
        elif scenario == "pessimistic":
            value = self.pessimistic or 0.0
        if self.dimension == "1":
            if self.unit != "1":
                raise ValueError(f"expected a pure number with `unit: 1`, got {self.unit!r}")
            return value
        try:
            return value * parse(f"1 {self.unit}", self.dimension)
        except SpecError as error:
            raise ValueError(f"unit {self.unit!r}: {error}") from None

    def at(self, node: float, scenario: Scenario = "nominal") -> float:
        """Return the number in SI units at a chip's node, at the reference supply."""
        number = self.number(scenario)
        return number if self.node is None else number * self._shrink(node)

    def _shrink(self, node: float) -> float:
        assert self.node is not None
        return (node / self.node) ** NODE_POWER[self.scaling]


class Energy(Constant):
    """Energy of one action [J]."""

    dimension, low, high = "J", 1e-18, 1e-6


class EnergyPerBit(Constant):
    """Energy of moving or storing one bit [J/bit]."""

    dimension, low, high = "J/bit", 1e-18, 1e-9


class Power(Constant):
    """Power [W]."""

    dimension, low, high = "W", 1e-12, 1e3


class Time(Constant):
    """A duration [s]."""

    dimension, low, high = "s", 1e-14, 1e-3


class Frequency(Constant):
    """A clock [Hz]."""

    dimension, low, high = "Hz", 1e3, 2e10
    more_is_better = True


class Bandwidth(Constant):
    """Bits moved in a second [bit/s]."""

    dimension, low, high = "bit/s", 1e3, 1e15
    more_is_better = True


class Surface(Constant):
    """Silicon area [m^2]."""

    dimension, low, high = "m^2", 1e-16, 1e-2


class Potential(Constant):
    """A voltage [V]."""

    dimension, low, high = "V", 1e-2, 10.0


class Ratio(Constant):
    """A pure number."""

    dimension, low, high = "1", 1e-6, 1e6
