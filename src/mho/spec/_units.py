"""Physical quantities in specs: SI numbers inside, `25 uS` or `1 d` at the edges."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from numbers import Real
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from ..errors import SpecError

_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?")
_NOT_FINITE = ("nan", "inf", "+inf", "-inf")  # numbers too: it is for the field to refuse them


@cache
def _registry() -> Any:
    # Imported here: building the unit registry costs a third of a second, which a program
    # that writes plain SI numbers should not pay. Decimal keeps `25 uS` equal to 25e-6.
    import pint

    registry = pint.UnitRegistry(non_int_type=Decimal)  # pyright: ignore[reportArgumentType]
    registry.define("@alias year = y")
    return registry


def parse(text: str | float, unit: str) -> float:
    """Read a quantity such as `"25 uS"` as a number in `unit`; a plain number is taken as SI."""
    if isinstance(text, Real) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str):
        raise SpecError(f"expected a number in {unit} or text such as '1 {unit}', got {text!r}")
    if text.strip().lower() in _NOT_FINITE:
        return float(text)
    written = _QUANTITY.fullmatch(text.strip())
    if written is None:  # pint would read '1,5 uS' as 15 uS, and 'uS' as 1 uS
        raise SpecError(f"cannot read {text!r} as a quantity; write '<number> {unit}'.")
    number, symbol = written.groups()
    if not symbol:
        return float(number)
    import pint

    try:
        quantity = Decimal(number) * _registry().parse_units(symbol)
        return float(quantity.to(unit).magnitude)
    except pint.DimensionalityError as error:
        raise SpecError(
            f"{text!r} is not in {unit}: {error}. Write it as '<number> {unit}'."
        ) from None
    except Exception:  # pint raises a dozen kinds for text that it cannot read
        raise SpecError(f"cannot read {text!r} as a quantity; write '<number> {unit}'.") from None


def seconds(time: str | float) -> float:
    """Read a time such as `"1 s"`, `"30 d"`, `"1 y"` (365.25 d), or a number of seconds.

    Raises:
        SpecError: the text is not a time, or the time is negative or not finite.
    """
    value = parse(time, "s")
    if not math.isfinite(value) or value < 0:
        raise SpecError(f"time {time!r} must be finite and at least 0 s (since programming).")
    return value


_STEPS = ((31557600.0, "y"), (86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def format_seconds(value: float) -> str:
    """Write a time in the largest unit of which it is a whole multiple: 3600 -> `1 h`."""
    for size, name in _STEPS:
        if value >= size and math.isclose(value / size, round(value / size), rel_tol=1e-9):
            return f"{round(value / size)} {name}"
    return f"{value:g} s"


_PREFIXES = (
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
    (1e-9, "n"),
    (1e-12, "p"),
    (1e-15, "f"),
)


def format_quantity(value: float, unit: str) -> str:
    """Write an SI number with an engineering prefix: 2.5e-5 S -> `25 uS`."""
    if unit == "s" and value >= 1:
        return format_seconds(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    value = float(f"{value:.6g}")  # before the prefix is chosen: 1 uS, not 1000 nS
    scale, prefix = next((p for p in _PREFIXES if abs(value) >= p[0] * (1 - 1e-12)), _PREFIXES[-1])
    return f"{value / scale:.6g} {prefix}{unit}"


@dataclass(frozen=True)
class Unit:
    """Annotation that lets a float field accept text with a unit."""

    symbol: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: parse(value, self.symbol), handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = handler(schema)
        number.pop("title", None)
        return {
            "anyOf": [number, {"type": "string", "examples": [f"1 {self.symbol}"]}],
            "unit": self.symbol,
        }


Siemens = Annotated[float, Unit("S")]
Volts = Annotated[float, Unit("V")]
Ohms = Annotated[float, Unit("ohm")]
Seconds = Annotated[float, Unit("s")]
Meters = Annotated[float, Unit("m")]
Joules = Annotated[float, Unit("J")]
Farads = Annotated[float, Unit("F")]
