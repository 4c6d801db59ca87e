"""Specs as YAML and JSON, dotted-path overrides, and differences."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..errors import PresetError, SpecError
from ._messages import nearest
from ._spec import Spec

SCHEMA = 1

S = TypeVar("S", bound=Spec)


def to_dict(spec: Spec, *, full: bool = True) -> dict[str, Any]:
    """Return plain data; `full=False` leaves out what equals its default."""
    return spec.model_dump(mode="json", exclude_defaults=not full)


def to_json(spec: Spec) -> str:
    """Return the canonical JSON of a spec: every field, sorted keys. Equal specs, equal text."""
    return json.dumps(to_dict(spec), sort_keys=True, separators=(",", ":"))


def to_yaml(spec: Spec, *, full: bool = False) -> str:
    """Return a YAML document that `mho.load` reads back to an equal spec."""
    body = {"schema": SCHEMA, **to_dict(spec, full=full)}
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


class _UniqueKeys(yaml.SafeLoader):
    """A YAML loader that refuses a key written twice instead of keeping the last."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    keys = [loader.construct_object(key) for key in own]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.YAMLError(f"key {sorted(map(str, twice))[0]!r} is written twice")
    return loader.construct_mapping(node)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_document(path: str | Path) -> dict[str, Any]:
    """Read a YAML or JSON file of hardware and check its schema number.

    Raises:
        PresetError: the file is missing, not text, not YAML, not a mapping, or of a later schema.
    """
    file = Path(path)
    try:
        data = yaml.load(file.read_text(encoding="utf8"), Loader=_UniqueKeys)
    except FileNotFoundError:
        raise PresetError(f"no such file: {file}. List the presets with `mho presets`.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PresetError(f"cannot read {file} as YAML: {error}") from None
    if not isinstance(data, dict):
        raise PresetError(
            f"{file} holds {type(data).__name__}, expected a mapping of hardware fields."
        )
    schema = data.pop("schema", None)
    if schema != SCHEMA:
        raise PresetError(f"{file}: schema is {schema!r}; this version reads `schema: {SCHEMA}`.")
    return data


def override(spec: S, assignments: Mapping[str, Any] | list[str]) -> S:
    """Return a copy with dotted paths replaced: `override(hw, {"adc.bits": 6})`.

    Text such as `"adc.bits=6"` is read as YAML, so `null`, numbers and `25 uS` all work.

    Raises:
        SpecError: a path names no field, or the new value is not valid there.
    """
    if not isinstance(assignments, Mapping):
        assignments = dict(_split(text) for text in assignments)
    data = to_dict(spec)
    for path, value in assignments.items():
        *parents, last = path.split(".")
        node: Any = data
        for depth, name in enumerate([*parents, last]):
            if not isinstance(node, dict) or name not in node:
                known = node if isinstance(node, dict) else {}
                where = ".".join(parents[:depth]) or type(spec).__name__
                raise SpecError(
                    f"no field {path!r}: {where} has {', '.join(known) or 'no fields (it is off)'}"
                    f"{nearest(name, known)}"
                )
            if depth < len(parents):
                node = node[name]
        # A change of kind starts from that kind's defaults, not from the old kind's fields.
        node[last] = to_dict(value) if isinstance(value, Spec) else value
        if last == "kind":
            for name in [n for n in node if n != "kind"]:
                del node[name]
    return type(spec)(**data)


def _split(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"override {text!r} is not of the form path=value, such as adc.bits=6")
    try:
        return path.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SpecError(f"override {text!r}: the value is not YAML: {error}") from None


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) for every leaf of nested mappings."""
    if isinstance(data, dict) and data:
        for name, value in data.items():
            yield from leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path, data


def diff(a: Spec, b: Spec) -> dict[str, tuple[Any, Any]]:
    """Return `{dotted path: (value in a, value in b)}` for every leaf that differs.

    A leaf that one side lacks (because a part is off or of another kind) shows as None there.
    """
    left, right = dict(leaves(to_dict(a))), dict(leaves(to_dict(b)))
    paths = [*left, *(path for path in right if path not in left)]
    return {p: (left.get(p), right.get(p)) for p in paths if left.get(p) != right.get(p)}
