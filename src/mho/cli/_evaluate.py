"""`mho evaluate`: how accurate a model of the user's own is."""

from pathlib import Path
from typing import Annotated

import typer

import mho

from ._files import function_of
from ._inputs import DATA, KeepDigital, Model, converted, data_of, model_of, needs_data
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
from ._pages import write_evaluation


def evaluate(
    model: Model,
    hardware: HardwareOption = "standard-hwa-2023",
    changes: Changes = None,
    data: Annotated[str | None, DATA] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE.py:score",
            help="Instead of --data: a function score(model) -> number, for hardware that needs no "
            "calibration.",
        ),
    ] = None,
    keep_digital: KeepDigital = None,
    times: Times = list(TIMES),  # noqa: B006
    instances: Instances = 10,
    seed: Seed = 0,
    compensation: Compensation = "global",
    workers: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    chance: Annotated[
        float | None, typer.Option(help="Score of guessing, for the normalized accuracy A*.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(callback=writable, help="Write every chip's scores.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(callback=writable, help="Write a report to send around.")
    ] = None,
) -> None:
    """Evaluate a trained model on chip instances over time.

    **MODEL.py:build** is a function of yours without arguments that returns the trained
    `torch.nn.Module`. **--data DATA.py:load** is one that returns a pair:

    - `batches`: a list (or other iterable) of inputs to calibrate with, each a tensor, a mapping of
      keyword arguments or a tuple of arguments of the model;
    - `score`: a function that takes the model and returns a number, larger is better.

    ```python
    def load():
        x, y = test_set()
        def score(model):
            with torch.no_grad():
                return (model(x).argmax(1) == y).float().mean()
        return [x[:256]], score
    ```

    Everything is deterministic: the same seed gives the same table for any number of workers.
    """
    value = hardware_of(hardware, changes)
    _check_sources(data, score, compensation, value)
    network = model_of(model)
    batches, measure = data_of(data) if data else (None, function_of(score or "", "--score"))
    receipt = converted(network, value, keep_digital)
    typer.echo(str(receipt))
    if batches is not None:
        mho.calibrate(network, batches)
    result = mho.evaluate(
        network,
        measure,
        times=times_of(times),
        instances=instances,
        seed=seed,
        compensation=compensation,
        batches=batches if compensation == "affine" else None,
        chance=chance,
        workers=workers,
    )
    typer.echo(result.table())
    if csv is not None:
        typer.echo(f"wrote {result.to_csv(csv)}")
    if html is not None:
        title = f"{model} on {hardware}"
        write_evaluation(html, title, changes or [], value, receipt, result)
        typer.echo(f"wrote {html}")


def _check_sources(
    data: str | None, score: str | None, compensation: str, hardware: mho.Hardware
) -> None:
    """Refuse what cannot go together before anything of the user's runs."""
    if (data is None) == (score is None):
        raise typer.BadParameter(
            "give one of them: --data DATA.py:load returns (batches, score); --score "
            "SCORE.py:score is the score itself, for hardware without calibration. See "
            "`mho evaluate --help`.",
            param_hint="--data / --score",
        )
    if data is None and needs_data(hardware):
        raise typer.BadParameter(
            "this hardware finds input ranges or ADC bounds from data: give --data DATA.py:load, "
            "or fix them, such as --set 'dac.range={kind: fixed, value: 1}'.",
            param_hint="--score",
        )
    if data is None and compensation == "affine":
        raise typer.BadParameter("affine needs --data DATA.py:load.", param_hint="--compensation")
