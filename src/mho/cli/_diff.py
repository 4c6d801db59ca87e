"""`mho diff`: what tells two descriptions of hardware apart."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import mho


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A preset, or a YAML file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
) -> None:
    """List the fields in which two descriptions of hardware differ."""
    changes = mho.diff(mho.load(first), mho.load(second))
    if not changes:
        typer.echo(f"{first} and {second} describe the same hardware.")
        return
    table = Table("field", first, second)
    for path, (left, right) in changes.items():
        table.add_row(path, _text(left), _text(right))
    Console().print(table)


def _text(value: Any) -> str:
    return "off" if value is None else str(value)
