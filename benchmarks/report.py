"""The tables."""

import platform
from collections.abc import Iterable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from . import THREADS, peers
from .breakdown import dearest
from .races import Limit, PulsedRace, Race, TrainingRace
from .timing import Paired


def environment() -> str:
    """One line about what was measured on what."""
    import mho

    versions = {"torch": torch.__version__, "mho": mho.__version__, **peers.installed()}
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{packages}; Python {platform.python_version()}, {platform.machine()}, {THREADS} threads"
    )


def speed(title: str, results: Iterable[tuple[Race, Paired, float]]) -> Table:
    """Median times and paired ratios, one race a row; error: that of the subject's output."""
    table = Table(title=title, title_justify="left")
    table.add_column("contender")
    table.add_column("ms", justify="right")
    table.add_column("against")
    table.add_column("ms", justify="right")
    table.add_column("ratio", justify="right", style="bold")
    table.add_column("min … max", justify="right")
    table.add_column("of fastest", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("error", justify="right")
    for race, times, error in results:
        table.add_row(
            race.subject.name,
            f"{median(times.subject) * 1e3:.2f}",
            race.baseline.name,
            f"{median(times.baseline) * 1e3:.2f}",
            f"{times.ratio:.2f}",
            f"{min(times.ratios):.2f} … {max(times.ratios):.2f}",
            f"{times.fastest:.2f}",
            verdict(race.limit, times.ratio),
            f"{error:.3f}",
        )
    return table


def races(title: str, results: Iterable[tuple[TrainingRace | PulsedRace, Paired]]) -> Table:
    """Median times and paired ratios of training, one race a row."""
    table = Table(title=title, title_justify="left")
    for heading in ("training", "ms", "against", "ms", "ratio", "min … max", "of fastest", "limit"):
        words = heading in ("training", "against")
        table.add_column(heading, justify="left" if words else "right")
    for race, times in results:
        table.add_row(
            race.subject.name,
            f"{median(times.subject) * 1e3:.2f}",
            race.baseline.name,
            f"{median(times.baseline) * 1e3:.2f}",
            f"{times.ratio:.2f}",
            f"{min(times.ratios):.2f} … {max(times.ratios):.2f}",
            f"{times.fastest:.2f}",
            verdict(race.limit, times.ratio),
        )
    return table


def verdict(limit: Limit | None, ratio: float) -> str:
    """The limit, and whether the ratio keeps to it."""
    if limit is None:
        return ""
    return f"{limit} [green]met[/]" if limit.met(ratio) else f"{limit} [red]missed[/]"


def operators(title: str, profiles: dict[str, dict[str, float]], count: int = 10) -> Table:
    """Self time per forward pass of the dearest operators, one contender a column."""
    table = Table(title=title, title_justify="left")
    table.add_column("operator, µs per forward")
    for name in profiles:
        table.add_column(name, justify="right")
    times = list(profiles.values())
    names = dearest(times, count)
    for name in names:
        table.add_row(name, *(_microseconds(t.get(name)) for t in times))
    rest = [sum(value for name, value in t.items() if name not in names) for t in times]
    table.add_row("all others", *(_microseconds(value) for value in rest))
    table.add_row("sum", *(_microseconds(sum(t.values())) for t in times), style="bold")
    return table


def footprint(rows: list[tuple[str, int, int, Limit | None]]) -> Table:
    """Bytes of digital and converted models and their ratio."""
    table = Table(title="Memory", title_justify="left")
    for heading in ("what", "digital, MB", "converted, MB", "ratio", "limit"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, digital, converted, limit in rows:
        ratio = converted / digital
        megabytes = (f"{digital / 1e6:.3f}", f"{converted / 1e6:.3f}")
        table.add_row(name, *megabytes, f"{ratio:.4f}", verdict(limit, ratio))
    return table


def console() -> Console:
    """Wide enough for the tables when the output is a file."""
    out = Console()
    return out if out.is_terminal else Console(width=150)


def _microseconds(seconds: float | None) -> str:
    return "" if not seconds else f"{seconds * 1e6:.0f}"
