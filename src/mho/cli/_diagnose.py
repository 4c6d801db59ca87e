"""`mho diagnose`: which effect makes which layer inexact."""

import json
from pathlib import Path
from typing import Annotated

import typer

import mho

from ._inputs import DATA, KeepDigital, Model, converted, data_of, model_of
from ._options import Changes, Compensation, Seed, hardware_of, writable
from ._options import Hardware as HardwareOption


def diagnose(
    model: Model,
    data: Annotated[str, DATA],
    hardware: HardwareOption = "standard-hwa-2023",
    changes: Changes = None,
    keep_digital: KeepDigital = None,
    time: Annotated[str, typer.Option(help="Time since programming.")] = "1 s",
    seed: Seed = 0,
    compensation: Compensation = "global",
    plot: Annotated[
        Path | None, typer.Option(callback=writable, help="Draw it: FILE.png, .svg or .pdf.")
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", callback=writable, help="Write the figures as JSON.")
    ] = None,
) -> None:
    """Say for every layer how inexact one chip instance makes it, and which effect is to blame.

    The model and the data are given as for `mho evaluate`; the score is not used.
    """
    value = hardware_of(hardware, changes)
    network = model_of(model)
    batches, _ = data_of(data)
    converted(network, value, keep_digital)
    mho.calibrate(network, batches)
    mho.program(network, seed=seed)
    mho.at(network, time)
    mho.compensate(network, compensation, batches if compensation == "affine" else None)  # pyright: ignore
    found = mho.diagnose(network, batches)
    typer.echo(found.table())
    if plot is not None:
        found.plot(plot)
        typer.echo(f"wrote {plot}")
    if as_json is not None:
        as_json.write_text(json.dumps(found.to_dict(), indent=2), encoding="utf8")
        typer.echo(f"wrote {as_json}")
