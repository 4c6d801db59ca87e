"""Turn validation errors into sentences: which field, what is allowed, what was meant."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest of `names`, or nothing."""
    match = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _fields_at(root: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Names of the fields of the spec that `path` leads to, as far as the annotations tell."""
    model: Any = root
    for step in path:
        field = getattr(model, "model_fields", {}).get(step)
        if field is None:
            return []
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    members = getattr(model, "members", None)
    models = list(members.values()) if members else [model]
    return sorted({name for m in models if m is not None for name in m.model_fields})


def readable(error: ValidationError, root: type[BaseModel]) -> str:
    """One line per fault: dotted path, the value given, the rule, and the nearest valid name."""
    lines = []
    for fault in error.errors(include_url=False):
        path = fault["loc"]
        where = ".".join(map(str, path)) or root.__name__
        if fault["type"] == "extra_forbidden":
            names = _fields_at(root, path[:-1])
            known = f"; known fields: {', '.join(names)}" if names else ""
            lines.append(f"{where}: unknown field{nearest(str(path[-1]), names)}{known}")
            continue
        text = fault["msg"].removeprefix("Value error, ")
        given = fault.get("input")
        value = f" (got {given!r})" if isinstance(given, str | int | float | None) else ""
        lines.append(f"{where}: {text}{value}")
    return f"{root.__name__} is not valid:\n  " + "\n  ".join(lines)
