"""What a user hands to `evaluate` and `diagnose`: a model, calibration batches, a score."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, cast

import typer
from torch import Tensor, nn

import mho

from ._files import call, function_of

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL.py:build",
        help="A function without arguments that returns the trained model.",
    ),
]
DATA = typer.Option(
    "--data",
    metavar="DATA.py:load",
    help="A function without arguments that returns the pair (batches, score).",
)
KeepDigital = Annotated[
    list[str] | None,
    typer.Option("--keep-digital", metavar="NAME", help="Leave these modules off the arrays."),
]

Score = Callable[[nn.Module], float]
PAIR = (
    "it must return the pair (batches, score): batches to calibrate with, as the model takes them, "
    "and a function score(model) -> number"
)


def model_of(reference: str) -> nn.Module:
    """Return what the user's function builds; it must be a model."""
    model = call(function_of(reference, "MODEL"), reference, "MODEL")
    if not isinstance(model, nn.Module):
        raise typer.BadParameter(
            f"{reference} returned {type(model).__name__}; it must return a torch.nn.Module.",
            param_hint="MODEL",
        )
    return model


def data_of(reference: str) -> tuple[list[Any], Score]:
    """Return calibration batches and the score; the batches as a list, as they are used twice."""
    found = call(function_of(reference, "--data"), reference, "--data")
    batches, score = found if isinstance(found, tuple) and len(found) == 2 else (None, None)
    if not isinstance(batches, Iterable) or not callable(score):
        kind = type(found).__name__
        if isinstance(found, tuple):
            kind = f"({', '.join(type(part).__name__ for part in found)})"
        raise typer.BadParameter(f"{reference} returned {kind}; {PAIR}.", param_hint="--data")
    if isinstance(batches, Tensor | Mapping):
        raise typer.BadParameter(
            f"{reference} returned a single {type(batches).__name__} as batches; return [x], score "
            "for a single batch x.",
            param_hint="--data",
        )
    return list(batches), cast(Score, score)


def converted(
    model: nn.Module, hardware: mho.Hardware, keep_digital: list[str] | None
) -> mho.Receipt:
    """Put the model on the hardware, but for the modules that stay digital."""
    return mho.convert(model, hardware, where=where_of(model, keep_digital))


def where_of(model: nn.Module, keep_digital: list[str] | None) -> mho.Predicate | None:
    """Return which modules go on arrays: all but those that stay digital."""
    where = None
    for pattern in keep_digital or ():
        _check_named(model, pattern)
        where = ~mho.named(pattern) if where is None else where & ~mho.named(pattern)
    return where


def _check_named(model: nn.Module, pattern: str) -> None:
    test = mho.named(pattern)
    if not any(test(name, module) for name, module in model.named_modules()):
        names = [name for name, m in model.named_modules() if name and not list(m.children())]
        raise typer.BadParameter(
            f"no module of the model is named {pattern!r}; it has: {', '.join(names)}.",
            param_hint="--keep-digital",
        )


def needs_data(hardware: mho.Hardware) -> bool:
    """Whether the hardware has ranges or bounds that only data can give."""
    rule = hardware.dac.range
    return bool(rule is not None and rule.stored) or hardware.adc.bound_from_data
