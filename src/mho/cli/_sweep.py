"""`mho sweep`: accuracy against energy over variants of a chip."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import mho

from ._chips import Changes, ChipOption, Example, Scenario, Shape, chip_of, example_of, keep
from ._inputs import DATA, KeepDigital, Model, data_of, model_of, where_of
from ._options import Compensation, Instances, Seed, writable


def sweep(
    model: Model,
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="PATH=V1,V2,...",
            help="Values of a field of the chip or of its hardware: `--vary adc.bits=4,6,8`. "
            "Given several times: all combinations.",
        ),
    ],
    data: Annotated[str, DATA],
    chip: ChipOption = "hermes-64-core",
    changes: Changes = None,
    shape: Shape = None,
    example: Example = None,
    keep_digital: KeepDigital = None,
    time: Annotated[str, typer.Option(help="Since programming, such as 1d.")] = "1 d",
    instances: Instances = 3,
    seed: Seed = 0,
    compensation: Compensation = "global",
    scenario: Scenario = "nominal",
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(callback=writable, help="Draw the Pareto front.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(callback=writable, help="Write all variants.")] = None,
    out: Annotated[
        Path | None, typer.Option("--json", callback=writable, help="Write every instance's score.")
    ] = None,
) -> None:
    """Sweep fields of a chip, and draw accuracy against energy.

    One chip value answers both questions: `adc.bits` moves the accuracy and the energy.
    **--data DATA.py:load** is what `mho evaluate` takes; the cost is that of its first input,
    unless `--shape` or `--example` says another.
    """
    values = dict(_values(text) for text in vary)
    value = chip_of(chip, changes)
    one = example_of(shape, example) if shape or example else None
    network = model_of(model)
    batches, score = data_of(data)
    found = mho.sweep(
        network,
        value,
        values,
        score,
        example=one,
        batches=batches,
        where=where_of(network, keep_digital),
        time=time,
        instances=instances,
        seed=seed,
        compensation=compensation,
        scenario=scenario,  # pyright: ignore[reportArgumentType] - the library names what it knows
        workers=workers,
    )
    typer.echo(found.table())
    keep(plot, found, "plot")
    keep(csv, found, "to_csv")
    keep(out, found, "to_json")


def _values(text: str) -> tuple[str, list[Any]]:
    """Read `adc.bits=4,6,8`; each value is YAML, and commas within brackets belong to it."""
    path, equals, written = text.partition("=")
    try:
        found = yaml.safe_load(f"[{written}]")
    except yaml.YAMLError:
        found = None
    if not equals or not path.strip() or not found:
        raise typer.BadParameter(
            f"{text!r} is not of the form PATH=V1,V2,..., such as adc.bits=4,6,8.",
            param_hint="--vary",
        )
    return path.strip(), found
