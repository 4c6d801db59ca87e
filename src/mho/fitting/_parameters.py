"""What of a device is fitted: its fields, as numbers without limits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cells import PulsedDevice
from ..errors import RangeError, SpecError
from ..spec import nearest

# Their effect is that of other fields too (z = 2 scale v/range + shift; a table's size), or they
# are noise beyond a pulse's own, which needs a reason.
HELD = {
    "exponential_step": ("scale", "shift", "noise_offset", "noise_slope"),
    "piecewise_step": ("step", "asymmetry", "low", "high"),
    "soft_bounds_pmax": ("pulses",),
}
PAIRS = {"asymmetry": ("step", "rate"), "exponent_asymmetry": ("exponent",)}
MARGIN = 30.0  # largest |logarithm| of a fitted number over its start


@dataclass(frozen=True)
class Parameter:
    """One number that is fitted.

    Attributes:
        name: of the field; a size or exponent of one direction ends in `_up` or `_down`, and a
            node of a table in its index.
        field: the field of the device.
        law: how the number follows from the free one: `positive` and `negative` are +-exp,
            `between` a logistic curve from least to most, `free` a multiple of `most`.
        own: whether it differs from device to device.
        start: where the search starts.
    """

    name: str
    field: str
    law: str
    own: bool
    start: float
    least: float = 0.0
    most: float = 1.0

    def value(self, free: float) -> float:
        """Return the number in the device's units."""
        if self.law == "free":
            return free * self.most
        if self.law == "between":
            return self.least + (self.most - self.least) / (1 + math.exp(-free))
        size = math.exp(min(max(free, -MARGIN), MARGIN))
        return -size if self.law == "negative" else size

    def free(self, value: float) -> float:
        """Return the free number that gives a value."""
        if self.law == "free":
            return value / self.most
        if self.law == "between":
            share = (value - self.least) / (self.most - self.least)
            return math.log(share / (1 - share))
        return math.log(max(abs(value), 1e-12))


@dataclass(frozen=True)
class Layout:
    """The parameters of a fit of one kind of device, and the fields that it does not touch."""

    device: type[PulsedDevice]
    held: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    def fields(self, free: Sequence[float] | NDArray[np.float64]) -> dict[str, Any]:
        """Return the device's fields for free numbers, in the order of `parameters`."""
        values = {p.name: p.value(x) for p, x in zip(self.parameters, free, strict=True)}
        return self.fields_of(values)

    def fields_of(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Return the device's fields for the numbers of `parameters` by name."""
        fields, tables = dict(self.held), {}
        for p in self.parameters:
            if p.name == p.field:
                fields[p.field] = values[p.name]
            elif p.name.endswith("_up"):
                size, asymmetry = one_sided_of(values[p.name], values[p.name[:-3] + "_down"])
                fields[p.field] = size
                fields[_asymmetry_of(p.field)] = asymmetry
            elif not p.name.endswith("_down"):
                tables.setdefault(p.field, []).append(values[p.name])
        return fields | {name: tuple(table) for name, table in tables.items()}

    def constructed(self, free: Sequence[float] | NDArray[np.float64]) -> PulsedDevice:
        """Return the device without validation, which a difference quotient may overstep."""
        return self.device.model_construct(**self.fields(free))


def one_sided_of(up: float, down: float) -> tuple[float, float]:
    """Return (size, asymmetry) of the one-sided rule, by which a direction is only ever weaker."""
    return (up, 1 - down / up) if up >= down else (down, up / down - 1)


def layout_of(
    kind: str,
    fixed: Mapping[str, Any],
    free: Sequence[str],
    starts: Mapping[str, float],
    nodes: int,
) -> Layout:
    """Return what is fitted of a kind of device.

    Args:
        kind: of a single device.
        fixed: fields that are given.
        free: fields to fit that are else left at their defaults.
        starts: where the search for some fields starts.
        nodes: length of tables.

    Raises:
        SpecError: the kind or a field is unknown.
        RangeError: a field is both given and to be fitted, or cannot be fitted.
    """
    device = single_kind(kind)
    numbers = _numbers(device)
    for name in (*fixed, *free):
        if name not in device.model_fields:
            raise SpecError(
                f"{kind} has no field {name!r}{nearest(name, device.model_fields)}; fitted by "
                f"default: {', '.join(n for n in numbers if n not in HELD.get(kind, ()))}"
            )
    for asymmetry, sizes in PAIRS.items():
        given = next((size for size in sizes if size in fixed), "")
        if given and asymmetry not in fixed and asymmetry in device.model_fields:
            raise RangeError(f"{given} is fixed, so that {asymmetry} must be fixed with it")
    for name in free:
        if name in fixed or name not in numbers:
            reason = "is also fixed" if name in fixed else "is not a number of the mean response"
            raise RangeError(f"{name} cannot be fitted: it {reason}")
    held = {name: starts[name] for name in HELD.get(kind, ()) if name in starts} | dict(fixed)
    skipped = {*HELD.get(kind, ()), *fixed} - set(free)
    found: list[Parameter] = []
    for name in numbers:
        if name not in skipped and name not in PAIRS:
            found += _of_field(device, name, starts, nodes, fixed)
    return Layout(device, held, tuple(found))


def single_kind(kind: str) -> type[PulsedDevice]:
    """Return the class of a kind of single device.

    Raises:
        SpecError: there is none.
    """
    known = {
        name: member
        for name, member in PulsedDevice.members.items()
        if issubclass(member, PulsedDevice)
    }
    if kind not in known:
        raise SpecError(
            f"unknown kind of single device {kind!r}{nearest(kind, known)}; known kinds: "
            f"{', '.join(sorted(known))}"
        )
    if known[kind].landing is not None:
        raise SpecError(
            f"{kind} has jumps, so that fits, which go by the gradient of a response, cannot find "
            "its numbers: count the pulses between switches instead"
        )
    return known[kind]


def _asymmetry_of(field: str) -> str:
    return next((name for name, sizes in PAIRS.items() if field in sizes), "")


def _numbers(device: type[PulsedDevice]) -> list[str]:
    """Names of the fields on which the mean response depends: numbers and tables."""
    shared = PulsedDevice.model_fields
    names = ["step", "asymmetry", "low", "high"]
    names += [name for name in device.model_fields if name not in shared]
    return [
        name
        for name in names
        if device.model_fields[name].annotation in (float, tuple[float, ...])
        and not name.endswith("_spread")
    ]


def _of_field(
    device: type[PulsedDevice],
    name: str,
    starts: Mapping[str, float],
    nodes: int,
    fixed: Mapping[str, Any],
) -> list[Parameter]:
    info, own = device.model_fields[name], f"{name}_spread" in device.model_fields
    if info.annotation is not float:
        start = starts.get(name, 1.0)
        return [Parameter(f"{name} {k}", name, "positive", False, start) for k in range(nodes)]
    asymmetry = _asymmetry_of(name)
    if asymmetry in device.model_fields and asymmetry not in fixed:
        own = own or f"{asymmetry}_spread" in device.model_fields
        sizes = [starts.get(f"{name}{end}", starts.get(name, info.default)) for end in ENDS]
        return [
            Parameter(name + end, name, "positive", own, size)
            for end, size in zip(ENDS, sizes, strict=True)
        ]
    start = starts.get(name, info.default)
    if name in ("low", "high"):
        return [Parameter(name, name, "negative" if name == "low" else "positive", own, start)]
    limits = {key: getattr(m, key) for m in info.metadata for key in LIMITS if hasattr(m, key)}
    least, most = (next((limits[k] for k in keys if k in limits), None) for keys in (LOWER, UPPER))
    if name.startswith("gamma") and not fixed.get("increasing"):
        least = 0.0  # slopes have no sign
    if least is None or (least < 0 and most is None):
        return [Parameter(name, name, "free", own, start, most=abs(start) or 1.0)]
    if most is None:
        return [Parameter(name, name, "positive", own, start)]
    return [Parameter(name, name, "between", own, start, least, most)]


ENDS = ("_up", "_down")
LOWER, UPPER = ("ge", "gt"), ("le", "lt")
LIMITS = LOWER + UPPER
