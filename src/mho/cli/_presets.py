"""`mho presets`: the shelf of hardware, and what each preset says."""

from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Column, Table

import mho

presets = typer.Typer(help="List the hardware presets; `show` prints one.")


@presets.callback(invoke_without_command=True)
def listing(ctx: typer.Context) -> None:
    """List the hardware presets; `show` prints one."""
    if ctx.invoked_subcommand is not None:
        return
    table = Table("preset", "cell", "arrays", "source")
    for name in mho.presets():
        hardware, document = mho.load(name), mho.document(name)
        rows, cols = hardware.array.rows, hardware.array.cols
        size = f"{rows or 'any'} x {cols or 'any'}" if rows or cols else "any size"
        table.add_row(name, hardware.cell.kind, size, document.source)  # pyright: ignore
    Console().print(table)
    table = Table(Column("chip", no_wrap=True), "node", "cores", "arrays", "source")
    for name in mho.chips():
        chip, document = mho.load(name), mho.document(name)
        arrays = f"{chip.core.arrays} x ({chip.rows} x {chip.cols})"
        node, count = f"{chip.node * 1e9:g} nm", str(chip.core.count)
        table.add_row(name, node, count, arrays, document.source)
    Console().print(table)


@presets.command()
def show(
    name: Annotated[str, typer.Argument(help="A preset, or the path of a YAML file.")],
    full: Annotated[bool, typer.Option("--full", help="Also what equals its default.")] = False,
) -> None:
    """Print a preset as the YAML file that it is, with its source."""
    document = mho.document(name)
    if full:
        fields = yaml.safe_load(mho.to_yaml(mho.load(name), full=True))
    else:
        fields = {"schema": 1, **document.fields}
    head = {"schema": fields.pop("schema"), "source": document.source}
    text = {**head, "fitted_on": document.fitted_on, **fields}
    typer.echo(yaml.safe_dump(text, sort_keys=False, allow_unicode=True, width=100), nl=False)
