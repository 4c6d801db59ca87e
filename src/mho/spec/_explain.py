"""A spec in plain words: one line per number, with unit and meaning."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from ._spec import Spec
from ._table import render_table
from ._units import Unit, format_quantity


@dataclass(frozen=True)
class Line:
    """One field of a spec."""

    path: str
    value: str
    meaning: str


def _unit(field: Any) -> str | None:
    pending = [*field.metadata, field.annotation]
    while pending:
        item = pending.pop()
        if isinstance(item, Unit):
            return item.symbol
        if get_origin(item) in (Union, types.UnionType):
            pending.extend(get_args(item))
        pending.extend(getattr(item, "__metadata__", ()))
    return None


def explain_lines(spec: Spec, path: str = "") -> Iterator[Line]:
    """Yield a line per field, depth first."""
    for name, field in type(spec).model_fields.items():
        value, here = getattr(spec, name), f"{path}.{name}" if path else name
        meaning = " ".join((field.description or "").split())
        if isinstance(value, Spec):
            kind = getattr(value, "kind", None)
            yield Line(here, kind or "", meaning)
            yield from (
                line for line in explain_lines(value, here) if not line.path.endswith(".kind")
            )
        elif isinstance(value, float) and (unit := _unit(field)):
            yield Line(here, format_quantity(value, unit), meaning)
        else:
            yield Line(here, "off" if value is None else str(value), meaning)


def explain(spec: Spec) -> str:
    """Return a table of every field: its value with unit, and what it means."""
    rows = [(line.path, line.value, line.meaning) for line in explain_lines(spec)]
    rows += spec.consequences()
    return render_table(type(spec).__name__, ("field", "value", "meaning"), rows)
