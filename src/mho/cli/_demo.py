"""`mho demo`: the main job on a small network, and a report of it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import mho

from ._options import Instances, writable
from ._pages import percent, write_demo
from ._story import tell


def demo(
    out: Annotated[Path, typer.Option(callback=writable, help="The report.")] = Path("report.html"),
    instances: Instances = 10,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the training and of the first chip.")
    ] = 0,
    epochs: Annotated[int, typer.Option(min=2, help="Training epochs; half as many to tune.")] = 40,
) -> None:
    """Train a small network, put it on analog hardware, let it age, make it robust, and report.

    Uses scikit-learn's digits; downloads nothing.
    """
    story = tell(instances, seed, epochs)
    typer.echo(str(story.receipt))
    Console().print(_table(story.labeled))
    typer.echo(f"wrote {write_demo(out, story)}")


def _table(results: dict[str, mho.Evaluation]) -> Table:
    """The means of all variants with the half widths of their intervals."""
    chips = len(next(iter(results.values())).seeds)
    table = Table("time", *results, title="accuracy [%]", title_justify="left")
    table.caption = (
        f"± half the 95 % interval over {chips} chip instances" if chips > 1 else "one chip"
    )
    table.caption_justify = "left"
    table.add_row("digital", *(f"{100 * r.digital:.1f}" for r in results.values()))
    for row in zip(*(result.rows() for result in results.values()), strict=True):
        cells = (
            percent(c["mean"], c["half_width_95"]).removesuffix("\N{NO-BREAK SPACE}%") for c in row
        )
        table.add_row(row[0]["time"], *cells)
    return table
