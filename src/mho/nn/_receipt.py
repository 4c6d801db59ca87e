"""What a conversion did: which modules became analog, and why the others did not."""

from dataclasses import dataclass, field

from ..spec import Spec, render_table


@dataclass(frozen=True)
class Entry:
    """One module of the model, or one weight of a module that has several.

    Attributes:
        name: qualified name; `(root)` for the model itself.
        kind: class of the digital module.
        analog: whether it now computes on arrays.
        shape: (out, rows) of the matrix, if analog.
        arrays: arrays taken.
        utilization: used share of those arrays' cells.
        reason: why it is not analog, or what else there is to know.
    """

    name: str
    kind: str
    analog: bool
    shape: tuple[int, int] | None = None
    arrays: int = 0
    utilization: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Receipt:
    """What `mho.convert` returns; prints as a table."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    hardware: tuple[Spec, ...] = field(default=(), repr=False)

    @property
    def analog(self) -> list[str]:
        """Names of what is on arrays."""
        return [entry.name for entry in self.entries if entry.analog]

    @property
    def digital(self) -> dict[str, str]:
        """Why each other module with parameters is not."""
        return {entry.name: entry.reason for entry in self.entries if not entry.analog}

    @property
    def arrays(self) -> int:
        """Arrays taken in all."""
        return sum(entry.arrays for entry in self.entries)

    def __str__(self) -> str:
        rows = [
            (
                entry.name,
                entry.kind,
                "analog" if entry.analog else "digital",
                "x".join(map(str, entry.shape)) if entry.shape else "",
                str(entry.arrays or ""),
                f"{entry.utilization:.0%}" if entry.analog else "",
                entry.reason,
            )
            for entry in self.entries
        ]
        header = ("module", "type", "runs", "out x rows", "arrays", "used", "note")
        title = f"{len(self.analog)} matrices on {self.arrays} arrays"
        return "\n".join([render_table(title, header, rows), *self.notes])
