"""Options that several commands share."""

import inspect
from pathlib import Path
from typing import Annotated

import typer

import mho

TIMES = tuple(inspect.signature(mho.evaluate).parameters["times"].default)

Hardware = Annotated[
    str, typer.Option("--hardware", help="A preset (`mho presets`) or the path of a YAML file.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field: `--set adc.bits=6`."),
]
Times = Annotated[
    list[str],
    typer.Option("--times", help="Times since programming, such as `1s,1h,30d,1y`."),
]
Instances = Annotated[int, typer.Option(min=1, help="Chip instances.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first chip instance.")]
Compensation = Annotated[
    str,
    typer.Option(help="Digital correction of drift: none, global, global_exact, column, affine."),
]


def hardware_of(source: str, changes: list[str] | None) -> mho.Hardware:
    """Return the hardware of a preset or file, or of a chip, with some of its fields changed."""
    found = mho.load(source)
    hardware: mho.Hardware = found.hardware if isinstance(found, mho.Chip) else found
    return mho.override(hardware, changes) if changes else hardware


def times_of(texts: list[str]) -> list[str]:
    """Split times that are separated by commas; the option may also be given several times."""
    return [part.strip() for text in texts for part in text.split(",")]


def writable(path: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before hours of work rather than after."""
    if path is None:
        return None
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name a file in it.")
    if not path.resolve().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.resolve().parent}; make it first.")
    return path
