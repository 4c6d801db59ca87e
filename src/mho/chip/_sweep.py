"""Accuracy against energy over variants of a chip."""

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..deploy import Score, calibrate, evaluate, pooled
from ..errors import DataError, RangeError
from ..nn import convert, sites
from ..spec import nearest, override
from ._blocks import Where
from ._chip import Chip, as_chip
from ._constant import Scenario
from ._cost import cost
from ._sweep_result import Point, Sweep


def sweep(
    model: nn.Module,
    chip: Chip | str | Path,
    vary: Mapping[str, Sequence[Any]],
    score: Score,
    *,
    example: Any = None,
    batches: Iterable[Any] | None = None,
    where: Where | None = None,
    time: str | float = "1 d",
    instances: int = 3,
    seed: int = 0,
    compensation: str = "global",
    scenario: Scenario = "nominal",
    inputs: int = 1,
    workers: int | None = 1,
) -> Sweep:
    """Evaluate accuracy and cost of a model for every combination of values.

    Each variant of the chip is one value, and both answers come from it: its hardware is what the
    model is converted to, calibrated and programmed on, `mho.cost` gets the chip itself. Everything
    is a function of the seed; the number of workers changes nothing.

    Args:
        model: a digital model; copies are used, it stays as it is.
        chip: the chip to vary.
        vary: values by dotted path, such as `{"adc.bits": [4, 6, 8], "core.count": [32, 64]}`; a
            path that is no field of the chip is one of its hardware.
        score: any callable model -> number, larger is better.
        example: one input for the cost; by default the first of the first batch.
        batches: data to calibrate with, where the hardware needs it.
        where: which modules go on arrays, as in `mho.convert`.
        time: since programming.
        instances: chip instances for every variant; the same seeds for all variants.
        seed: seed of the first instance.
        compensation: of drift, as in `mho.evaluate`.
        scenario: end of the chip's constants.
        inputs: inputs in the cost's pipeline.
        workers: processes; None takes what the surrounding `joblib.parallel_config` says.

    Raises:
        SpecError: a path names no field, or a value is not valid there.
        RangeError: nothing varies.
        DataError: no example and no batch to take one from, a batch that is no input of the model,
            or the model is converted already.
    """
    if any(True for _ in sites(model)):
        raise DataError("sweep converts the model itself: give the digital one (mho.restore).")
    chip = as_chip(chip)
    variants = combinations(chip, vary)
    data = None if batches is None else list(batches)
    one = first_input(data) if example is None else example
    shared = (model, score, one, data, where, time, instances, seed, compensation, scenario, inputs)
    calls = [(values, variant, *shared) for values, variant in variants]
    points = pooled(_point, calls, "sweeping", workers)
    return Sweep(tuple(vary), tuple(points), instances, seed)


def combinations(
    chip: Chip, vary: Mapping[str, Sequence[Any]]
) -> list[tuple[dict[str, Any], Chip]]:
    """Return every combination of values with the chip that has them."""
    for path, values in vary.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise RangeError(f"{path}: give a list of values, such as [4, 6, 8], got {values!r}.")
    if not vary:
        raise RangeError("nothing varies: give paths with values, such as {'adc.bits': [4, 8]}.")
    found = []
    for values in itertools.product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        found.append((chosen, override(chip, {full_path(chip, p): v for p, v in chosen.items()})))
    return found


def full_path(chip: Chip, path: str) -> str:
    """Return the path of a field within the chip; that of an array may leave out `hardware`."""
    head = path.split(".")[0]
    own, inside = type(chip).model_fields, type(chip.hardware).model_fields
    if head in own:
        return path
    if head in inside:
        return f"hardware.{path}"
    raise RangeError(
        f"no field {path!r}: a chip has {', '.join(own)}; its hardware {', '.join(inside)}"
        f"{nearest(head, [*own, *inside])}"
    )


def first_input(batches: list[Any] | None) -> Any:
    """Return the first sample of the first batch."""
    if not batches:
        raise DataError("the cost needs an input: give `example`, or `batches` to take one from.")
    return tree_map(lambda x: x[:1] if isinstance(x, Tensor) and x.dim() else x, batches[0])


def _point(
    values: dict[str, Any], chip: Chip, model: nn.Module, score: Score, example: Any,
    batches: list[Any] | None, where: Where | None, time: str | float, instances: int, seed: int,
    compensation: str, scenario: Scenario, inputs: int,
) -> Point:  # fmt: skip
    """Answer both questions for one chip."""
    model = copy.deepcopy(model)
    found = cost(model, chip, example, inputs=inputs, scenario=scenario, where=where)
    convert(model, chip.hardware, where=where)
    rule, adc = chip.hardware.dac.range, chip.hardware.adc
    if (rule is not None and rule.stored) or adc.bound_from_data:
        if batches is None:
            raise DataError(
                "this hardware finds input ranges or ADC bounds from data: give `batches`."
            )
        calibrate(model, batches)
    result = evaluate(
        model, score, times=[time], instances=instances, seed=seed, compensation=compensation
    )
    return Point(
        values, tuple(float(s) for s in result.scores[:, 0]), result.digital, found.energy,
        found.latency, found.throughput, sum(found.area.values()),
    )  # fmt: skip
