"""How fast, how many joules, how much area: the cost of a model on a chip."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import CapacityError, RangeError
from ..tiles import Geometry
from ._blocks import Block, Where, blocks_of, on_arrays
from ._chip import Chip, as_chip
from ._constant import Scenario
from ._cost_result import Cost
from ._estimate import Size
from ._figures import Figures
from ._graph import Graph
from ._place import placed
from ._placement import Placement
from ._product import area
from ._schedule import Simulation
from ._trace import trace
from ._work import Demand


def cost(
    model: nn.Module,
    chip: Chip | str | Path,
    example: Any,
    *,
    inputs: int = 8,
    interval: float = 0.0,
    scenario: Scenario = "nominal",
    where: Where | None = None,
    placement: Placement | None = None,
    chunks: int = 16,
) -> Cost:
    """Simulate inputs that go through a model on a chip.

    One forward pass with `example` says what is computed, in which order and on how many vectors;
    values do not matter, and on the meta device none are computed. Products of the weight matrices
    run on arrays, everything else on digital units, attention and its keys and values included.
    The model is left as it was.

    Args:
        model: a digital model, or one that is on the chip's hardware.
        chip: a chip, or the name or path of one.
        example: one input: a tensor, a tuple of arguments or a mapping of keywords.
        inputs: inputs that go through in a pipeline.
        interval: time between their arrivals [s]; at 0 all wait from the beginning.
        scenario: `optimistic`, `nominal` or `pessimistic` end of all constants.
        where: which modules go on arrays, as in `mho.convert`; for a digital model.
        placement: what `mho.place` returned; by default, all of the model with this example.
        chunks: pieces of a layer's work that others can wait for; more is finer and slower.

    Raises:
        CapacityError: the model does not fit the chip, or what must be remembered its memory, or
            the placement is of another model or chip.
        RangeError: a number of inputs or chunks below 1, or an interval that is no time.
        SpecError: the model is on other hardware than the chip's, or on arrays and `where` given,
            or an unknown scenario.
        DataError: the example is no input of the model, holds no input vector, or reaches no array.
    """
    chip = as_chip(chip)
    _check(inputs, interval, chunks)
    with on_arrays(model, chip, where) as geometries:
        graph = trace(model, example)
    if placement is None:
        placement = placed(geometries, chip, graph.vectors, "auto", True, True)
    _check_placement(placement, chip, graph, geometries)
    figures = Figures(chip, scenario)
    demand = Demand(graph, placement, figures)
    schedule = Simulation(demand, inputs, interval, chunks).run(show=True)
    return Cost(demand, schedule, Size(inputs, interval, chunks), area(figures))


def _check(inputs: int, interval: float, chunks: int) -> None:
    for name, value in {"inputs": inputs, "chunks": chunks}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RangeError(f"{name} must be a whole number from 1 on, got {value!r}.")
    if not math.isfinite(interval) or interval < 0:
        raise RangeError(f"interval must be a finite time of at least 0 s, got {interval!r}.")


def _check_placement(
    placement: Placement, chip: Chip, graph: Graph, geometries: Mapping[str, Geometry]
) -> None:
    if placement.chip != chip:
        raise CapacityError("the placement is of another chip: call mho.place with this one.")
    if placement.missing:
        raise CapacityError(
            f"{placement.missing[0].site} is not on the chip: the placement leaves out "
            f"{len(placement.missing)} blocks. Take a chip with more cores, or leave layers "
            "digital with `where`."
        )
    for name in graph.vectors:
        placed_here = [b for b in placement.by_site.get(name, []) if b.replica == 0]
        wanted = blocks_of(name, geometries[name], chip.hardware)
        if sorted(map(_size, placed_here)) != sorted(map(_size, wanted)):
            raise CapacityError(
                f"the placement is of another model, which has other blocks of {name}: call "
                "mho.place with this one."
            )


def _size(block: Block) -> tuple[int, ...]:
    return block.part, block.column, block.slice, block.rows, block.cols
