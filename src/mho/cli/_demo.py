"""`mho demo`: the main job on a small network, and a report of it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ._options import Instances, writable


def demo(
    out: Annotated[Path, typer.Option(callback=writable, help="The report.")] = Path("report.html"),
    instances: Instances = 10,
    seed: Annotated[int, typer.Option(help="Seed of the training and of the first chip.")] = 0,
    epochs: Annotated[int, typer.Option(min=2, help="Training epochs; half as many to tune.")] = 40,
) -> None:
    """Train a small network, put it on analog hardware, let it age, make it robust, and report.

    Uses scikit-learn's digits; downloads nothing.
    """
    from ._pages import write_demo
    from ._story import tell

    story = tell(instances, seed, epochs)
    typer.echo(str(story.receipt))
    Console().print(_table(story.labeled))
    typer.echo(f"wrote {write_demo(out, story)}")


def _table(results: dict) -> Table:
    """The means of all variants with the half widths of their intervals."""
    any_result = next(iter(results.values()))
    table = Table("time", *results, title="accuracy [%]", title_justify="left")
    table.caption = f"± half the 95 % interval over {len(any_result.seeds)} chip instances"
    table.caption_justify = "left"
    table.add_row("digital", *(f"{100 * r.digital:.1f}" for r in results.values()))
    for row in zip(*(result.rows() for result in results.values()), strict=True):
        cells = [f"{100 * c['mean']:.1f} ± {100 * c['half_width_95']:.1f}" for c in row]
        table.add_row(row[0]["time"], *cells)
    return table
