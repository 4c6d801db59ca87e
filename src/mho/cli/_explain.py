"""`mho explain`: hardware in plain words."""

from typing import Annotated

import typer

import mho

from ._options import Changes, hardware_of


def explain(
    hardware: Annotated[str, typer.Argument(help="A preset, or the path of a YAML file.")],
    changes: Changes = None,
) -> None:
    """Say in plain words what every number of some hardware is and means."""
    if isinstance(found := mho.load(hardware), mho.Chip):
        chip = mho.override(found, changes) if changes else found
        typer.echo(chip.table())
        typer.echo(mho.explain(chip.hardware))
        return
    typer.echo(mho.explain(hardware_of(hardware, changes)))
