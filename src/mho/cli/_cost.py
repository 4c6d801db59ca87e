"""`mho cost` and `mho place`: what a model costs on a chip, and where it goes."""

import json
from pathlib import Path
from typing import Annotated

import typer

import mho

from ._chips import Changes, ChipOption, Example, Scenario, Shape, chip_of, example_of, keep
from ._inputs import KeepDigital, Model, model_of, where_of
from ._options import writable


def cost(
    model: Model,
    chip: ChipOption = "hermes-64-core",
    changes: Changes = None,
    shape: Shape = None,
    example: Example = None,
    keep_digital: KeepDigital = None,
    inputs: Annotated[int, typer.Option(min=1, help="Inputs in the pipeline.")] = 8,
    scenario: Scenario = "nominal",
    plot: Annotated[
        Path | None, typer.Option(callback=writable, help="Draw it: FILE.png, .svg or .pdf.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(callback=writable, help="Write a page to send around.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--json", callback=writable, help="Write all numbers.")
    ] = None,
    accelforge: Annotated[
        Path | None,
        typer.Option(callback=writable, help="Write the chip for AccelForge: FILE.yaml."),
    ] = None,
) -> None:
    """Estimate latency, throughput, energy and area of a model on a chip.

    **MODEL.py:build** is a function of yours without arguments that returns the
    `torch.nn.Module`; its weights need not be trained.
    """
    value = chip_of(chip, changes)
    one = example_of(shape, example)
    network = model_of(model)
    found = mho.cost(
        network,
        value,
        one,
        inputs=inputs,
        scenario=scenario,  # pyright: ignore[reportArgumentType] - the library names what it knows
        where=where_of(network, keep_digital),
    )
    typer.echo(found.table())
    keep(plot, found, "plot")
    keep(html, found, "to_html")
    keep(accelforge, found, "to_accelforge")
    if out is not None:
        out.write_text(json.dumps(found.to_dict(), indent=1), encoding="utf8")
        typer.echo(f"wrote {out}")


def place(
    model: Model,
    chip: ChipOption = "hermes-64-core",
    changes: Changes = None,
    shape: Shape = None,
    example: Example = None,
    keep_digital: KeepDigital = None,
    strict: Annotated[
        bool, typer.Option(help="Fail if the model does not fit, instead of saying what is left.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(callback=writable, help="Draw the floor plan.")
    ] = None,
) -> None:
    """Place the weights of a model on the arrays of a chip.

    With an input (`--shape` or `--example`), cores that are left get copies of what takes longest.
    """
    value = chip_of(chip, changes)
    one = example_of(shape, example) if shape or example else None
    network = model_of(model)
    where = where_of(network, keep_digital)
    found = mho.place(network, value, one, where=where, strict=strict)
    typer.echo(found.table())
    keep(plot, found, "plot")
