"""Figures of one input, and how they follow the constants."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ._constant import Constant
from ._figures import Figures, constants
from ._schedule import Schedule, Simulation
from ._work import Demand

STEP = 0.01
"""Relative change of a constant for its elasticity."""
TIMES = ("s", "Hz", "bit/s", "V", "1")
"""Dimensions of the constants that a schedule may depend on."""


class Size(NamedTuple):
    """How much is simulated: inputs, the time between them [s], and pieces of a layer's work."""

    inputs: int
    interval: float
    chunks: int


@dataclass(frozen=True)
class Totals:
    """The figures of one input in a pipeline.

    Attributes:
        alone: latency of a single input on the idle chip [s].
        p50: latency that half of the inputs stay below [s].
        p95: latency that 95 % of the inputs stay below [s].
        throughput: inputs per second.
        components: energy of one input by component [J].
    """

    alone: float
    p50: float
    p95: float
    throughput: float
    components: dict[str, float]

    @property
    def energy(self) -> float:
        """Energy of one input [J]."""
        return sum(self.components.values())

    @property
    def power(self) -> float:
        """Mean power in the pipeline [W]."""
        return self.energy * self.throughput


@dataclass(frozen=True)
class Elasticity:
    """How much the answers follow a constant: per cent for one per cent.

    Attributes:
        constant: path of the constant.
        latency: d ln(latency) / d ln(constant).
        energy: d ln(energy) / d ln(constant).
        source: where the constant is from.
    """

    constant: str
    latency: float
    energy: float
    source: str

    @property
    def strength(self) -> float:
        """The larger of both, without sign."""
        return max(abs(self.latency), abs(self.energy))


def totals(demand: Demand, size: Size, schedule: Schedule | None = None) -> Totals:
    """Return the figures of one input; a schedule that is known need not be made again."""
    alone = Simulation(demand, 1, 0.0, size.chunks).run()
    if schedule is None:
        schedule = Simulation(demand, *size).run() if size.inputs > 1 else alone
    energy = _components(demand, 1 / schedule.throughput)
    middle, high = np.percentile(schedule.latencies, [50, 95])
    return Totals(alone.makespan, float(middle), float(high), schedule.throughput, energy)


def _components(demand: Demand, period: float) -> dict[str, float]:
    """Return the energy of one input by component [J], one input being done every `period` [s]."""
    energy = demand.energy
    idle = demand.figures("memory.idle") + demand.figures("dram.idle")
    return energy | ({"idle memory": idle * period} if idle else {})


def elasticities(demand: Demand, chunks: int) -> Iterator[Elasticity]:
    """Yield d ln(answer) / d ln(constant), of central differences of +-1 %, for a single input."""
    alone = Simulation(demand, 1, 0.0, chunks).run().makespan
    width = math.log((1 + STEP) / (1 - STEP))
    for path, constant in constants(demand.chip):
        low, high = (
            _answers(demand, path, constant, x, chunks, alone) for x in (1 - STEP, 1 + STEP)
        )
        latency, energy = (
            math.log(b / a) / width if a != b else 0.0 for a, b in zip(low, high, strict=True)
        )
        yield Elasticity(path, latency, energy, constant.source)


def _answers(
    demand: Demand, path: str, constant: Constant, factor: float, chunks: int, alone: float
) -> tuple[float, float]:
    """Return latency and energy of one input with a constant multiplied."""
    figures = Figures(demand.chip, demand.figures.scenario, {path: factor})
    changed, latency = Demand(demand.graph, demand.placement, figures), alone
    if constant.dimension in TIMES:
        latency = Simulation(changed, 1, 0.0, chunks).run().makespan
    return latency, sum(_components(changed, latency).values())
