"""`mho mvm-error`: how exact one matrix product is."""

from pathlib import Path
from typing import Annotated

import typer

import mho

from ._options import (
    TIMES,
    Changes,
    Compensation,
    Instances,
    Seed,
    Times,
    hardware_of,
    times_of,
    writable,
)
from ._options import Hardware as HardwareOption


def mvm_error(
    hardware: HardwareOption = "standard-hwa-2023",
    changes: Changes = None,
    out: Annotated[int, typer.Option(help="Outputs of the matrix.")] = 512,
    rows: Annotated[int, typer.Option(help="Inputs of the matrix.")] = 512,
    vectors: Annotated[int, typer.Option(help="Input vectors.")] = 256,
    inputs: Annotated[
        str, typer.Option(help="Law of inputs: uniform, gaussian, positive.")
    ] = "uniform",
    sparsity: Annotated[float, typer.Option(help="Share of inputs that are 0.")] = 0.5,
    times: Times = list(TIMES),  # noqa: B006
    compensation: Compensation = "global",
    instances: Instances = 10,
    seed: Seed = 0,
    plot: Annotated[
        Path | None, typer.Option(callback=writable, help="Draw it: FILE.png, .svg or .pdf.")
    ] = None,
) -> None:
    """Measure the relative L2 error of a matrix product on programmed chips over time."""
    found = mho.mvm_error(
        hardware_of(hardware, changes),
        out=out,
        rows=rows,
        vectors=vectors,
        inputs=inputs,  # pyright: ignore[reportArgumentType] - the library names what it knows
        sparsity=sparsity,
        times=times_of(times),
        compensation=compensation,
        instances=instances,
        seed=seed,
    )
    typer.echo(found.table())
    if plot is not None:
        found.plot(plot)
        typer.echo(f"wrote {plot}")
