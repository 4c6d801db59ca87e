"""Which module gets which hardware: predicates over (name, module), and ordered rules."""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

from ..errors import SpecError

V = TypeVar("V")


@dataclass(frozen=True)
class Predicate:
    """A test of (qualified name, module) that combines with `&`, `|` and `~`."""

    test: Callable[[str, nn.Module], bool]
    text: str

    def __call__(self, name: str, module: nn.Module) -> bool:
        """Tell whether the module of this qualified name is meant."""
        return bool(self.test(name, module))

    def __and__(self, other: "Predicate") -> "Predicate":
        return Predicate(lambda n, m: self(n, m) and other(n, m), f"({self.text} & {other.text})")

    def __or__(self, other: "Predicate") -> "Predicate":
        return Predicate(lambda n, m: self(n, m) or other(n, m), f"({self.text} | {other.text})")

    def __invert__(self) -> "Predicate":
        return Predicate(lambda n, m: not self(n, m), f"~{self.text}")

    def __repr__(self) -> str:
        return self.text


def named(pattern: str) -> Predicate:
    """Modules whose qualified name matches: `named("lm_head")`, `named("encoder.*.mlp.*")`.

    The pattern matches the whole name, a trailing part of it, or any module inside a match.
    """

    def test(name: str, _: nn.Module) -> bool:
        parts = name.split(".")
        return any(
            fnmatch.fnmatchcase(".".join(parts[start:stop]), pattern)
            for stop in range(1, len(parts) + 1)
            for start in range(stop)
        )

    return Predicate(test, f"named({pattern!r})")


def of_type(*types: type[nn.Module]) -> Predicate:
    """Modules that are instances of one of `types`."""
    names = ", ".join(t.__name__ for t in types)
    return Predicate(lambda _, module: isinstance(module, types), f"of_type({names})")


class Rules(Generic[V]):
    """Ordered rules `(pattern | predicate) -> value | None`; the first match wins.

    None leaves a module digital, and so does the absence of a match.

        mho.Rules([("lm_head", None), (mho.conv, hermes), ("*", standard)])
    """

    def __init__(
        self, rules: Iterable[tuple[str | Callable[[str, nn.Module], bool], V | None]]
    ) -> None:
        self.rules: list[tuple[Callable[[str, nn.Module], bool], V | None]] = []
        for rule in rules:
            if not (isinstance(rule, tuple) and len(rule) == 2):
                raise SpecError(
                    f"a rule is a pair (pattern or predicate, hardware or None), got {rule!r}"
                )
            matcher, value = rule
            if isinstance(matcher, str):
                matcher = Predicate(lambda *_: True, "*") if matcher == "*" else named(matcher)
            if not callable(matcher):
                raise SpecError(f"a rule starts with a pattern or a predicate, got {matcher!r}")
            self.rules.append((matcher, value))
        if not self.rules:
            raise SpecError("Rules needs at least one rule, such as ('*', hardware).")

    def match(self, name: str, module: nn.Module) -> tuple[bool, V | None]:
        """Return (did a rule match, its value)."""
        for matcher, value in self.rules:
            if matcher(name, module):
                return True, value
        return False, None

    def __repr__(self) -> str:
        return f"Rules({[(repr(m), v) for m, v in self.rules]})"
