"""Options of the commands that take a chip."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import mho

from ._files import call, function_of

ChipOption = Annotated[
    str, typer.Option("--chip", help="A chip preset (`mho presets`) or the path of a YAML file.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change a field of the chip: `--set core.count=128`, `--set hardware.adc.bits=6`.",
    ),
]
Shape = Annotated[
    str | None,
    typer.Option(metavar="N,C,H,W", help="One input: zeros of this shape, `--shape 1,3,32,32`."),
]
Example = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:function",
        help="One input: what a function without arguments returns (a tensor, a tuple of arguments "
        "or a mapping of keywords).",
    ),
]
Scenario = Annotated[
    str, typer.Option(help="Which end of the constants: optimistic, nominal, pessimistic.")
]


def chip_of(source: str, changes: list[str] | None) -> mho.Chip:
    """Return the chip of a preset or file with some of its fields changed."""
    chip = mho.load(source)
    if not isinstance(chip, mho.Chip):
        raise typer.BadParameter(
            f"{source} is hardware without cores; chips are: {', '.join(mho.chips())}.",
            param_hint="--chip",
        )
    return mho.override(chip, changes) if changes else chip


def example_of(shape: str | None, example: str | None) -> Any:
    """Return one input of the model, as the user described it."""
    if (shape is None) == (example is None):
        raise typer.BadParameter(
            "give one of them: --shape 1,3,32,32 for zeros, or --example FILE.py:function.",
            param_hint="--shape / --example",
        )
    if example is not None:
        return call(function_of(example, "--example"), example, "--example")
    sizes = str(shape).split(",")
    if not all(size.strip().isdigit() and int(size) for size in sizes):
        raise typer.BadParameter(
            f"{shape!r} is no shape; write whole numbers from 1 on, such as 1,3,32,32.",
            param_hint="--shape",
        )
    return torch.zeros([int(size) for size in sizes])


def keep(path: Path | None, result: Any, method: str) -> None:
    """Write a result to a file, if one was asked for, and say so."""
    if path is not None:
        getattr(result, method)(path)
        typer.echo(f"wrote {path}")
