"""The result of a cost estimate: tables, plots and a page."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..deploy import save
from ..spec import format_quantity, render_table
from ._chip import Chip
from ._constant import SCENARIOS, Scenario
from ._estimate import Elasticity, Size, Totals, elasticities, totals
from ._figures import Figures
from ._graph import Graph
from ._placement import Placement
from ._schedule import Schedule
from ._work import Demand, Work


@dataclass(frozen=True)
class Cost:
    """What a model costs on a chip.

    What takes longest to find out is found when it is asked for: the other scenarios, and the
    elasticities.

    Attributes:
        demand: what every step of one input takes, and on what placement.
        schedule: when everything happened.
        size: how much was simulated.
        area: of the chip by component [m^2].
    """

    demand: Demand
    schedule: Schedule
    size: Size
    area: dict[str, float]

    @property
    def chip(self) -> Chip:
        """The chip."""
        return self.demand.chip

    @property
    def scenario(self) -> Scenario:
        """The end of the constants' ranges that the details are of."""
        return self.demand.figures.scenario

    @property
    def graph(self) -> Graph:
        """What one forward pass asks for."""
        return self.demand.graph

    @property
    def placement(self) -> Placement:
        """Where the weights are."""
        return self.demand.placement

    @cached_property
    def totals(self) -> Totals:
        """The figures of this cost's scenario."""
        return totals(self.demand, self.size, self.schedule)

    @cached_property
    def ranges(self) -> dict[Scenario, Totals]:
        """The figures of every scenario."""
        found: dict[Scenario, Totals] = {}
        for scenario in SCENARIOS:
            other = Demand(self.graph, self.placement, Figures(self.chip, scenario))
            found[scenario] = self.totals if scenario == self.scenario else totals(other, self.size)
        return found

    @cached_property
    def elasticities(self) -> tuple[Elasticity, ...]:
        """Of latency and energy of a single input, for every constant."""
        return tuple(elasticities(self.demand, self.size.chunks))

    @property
    def latency(self) -> float:
        """Latency of a single input on the idle chip [s]."""
        return self.totals.alone

    @property
    def throughput(self) -> float:
        """Inputs per second."""
        return self.totals.throughput

    @property
    def energy(self) -> float:
        """Energy of one input [J]."""
        return self.totals.energy

    @property
    def components(self) -> dict[str, float]:
        """Energy of one input by component [J]."""
        return self.totals.components

    @property
    def power(self) -> float:
        """Mean power in the pipeline [W]."""
        return self.totals.power

    @property
    def peak_buffer(self) -> float:
        """Most bytes of activations that waited at once."""
        return self.schedule.peak_bits / 8

    @property
    def cache(self) -> float:
        """Bytes of keys and values of one input."""
        return self.graph.cache * self.demand.bits / 8

    @property
    def sensitive(self) -> list[Elasticity]:
        """The three constants that the answer depends on most."""
        return sorted(self.elasticities, key=lambda e: -e.strength)[:3]

    def layers(self) -> list[dict[str, Any]]:
        """One mapping per weight matrix: vectors, and time and energy of one input.

        `vector_seconds` is the time of a single vector from its transfer to its result.
        """
        found = []
        for site, vectors in self.graph.vectors.items():
            works = [work for work in self.demand.works if work.node.site == site]
            spans = [s for s in self.schedule.spans if s.job == 0 and s.name == site]
            joules = sum(sum(work.energy.values()) for work in works)
            found.append({
                "matrix": site,
                "vectors": vectors,
                "copies": len(works[0].copies),
                "vector_seconds": self._one_vector(works[0]),
                "vector_joules": joules / vectors,
                "seconds": max(s.end for s in spans) - min(s.start for s in spans),
                "joules": joules,
            })  # fmt: skip
        return found

    def _one_vector(self, work: Work) -> float:
        number = self.demand.figures
        bits = max(work.streams, default=0.0) / work.node.vectors
        arrives = bits / number("links.bandwidth") + work.hops * number("links.latency")
        return arrives + max(s.seconds for copy in work.copies for s in copy) + work.fill

    def by_operation(self) -> dict[str, float]:
        """Energy [J] by matrix or digital operation."""
        found: dict[str, float] = {}
        for work in self.demand.works:
            name = work.node.name
            found[name] = found.get(name, 0.0) + sum(work.energy.values())
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per figure with its value in every scenario, in SI units."""
        names = {"latency, alone": "s", "latency p50": "s", "latency p95": "s",
                 "throughput": "/s", "energy": "J", "power": "W"}  # fmt: skip
        found = []
        for name, unit in names.items():
            row: dict[str, Any] = {"figure": name, "unit": unit}
            for scenario in SCENARIOS:
                part = self.ranges[scenario]
                row[scenario] = {
                    "latency, alone": part.alone, "latency p50": part.p50, "latency p95": part.p95,
                    "throughput": part.throughput, "energy": part.energy, "power": part.power,
                }[name]  # fmt: skip
            found.append(row)
        for name in self.components:
            row = {"figure": f"energy: {name}", "unit": "J"}
            row |= {s: self.ranges[s].components.get(name, 0.0) for s in SCENARIOS}
            found.append(row)
        return found

    def facts(self) -> list[tuple[str, str]]:
        """What has no range: area, buffers, utilization."""
        used = ", ".join(f"{kind} {share:.0%}" for kind, share in self.schedule.utilization.items())
        area = sum(self.area.values()) * 1e6
        parts = ", ".join(f"{name} {value * 1e6:.3g}" for name, value in self.area.items())
        placement = self.placement
        return [
            ("inputs", str(len(self.schedule.ends))),
            ("area [mm^2]", f"{area:.3g} ({parts})"),
            ("cores in use", f"{placement.cores} of {self.chip.core.count}"),
            ("peak buffers", f"{self.peak_buffer:,.0f} bytes of {self.chip.memory.capacity:,}"),
            ("keys and values", f"{self.cache:,.0f} bytes"),
            ("time in use", used),
        ]

    def table(self) -> str:
        """Return the tables as text."""
        ends = [
            (row["figure"], *(format_quantity(row[s], row["unit"]) for s in SCENARIOS))
            for row in self.rows()
        ]
        title = f"one input on {self.chip.core.count} cores, details: {self.scenario}"
        tables = [render_table(title, ("figure", *SCENARIOS), ends)]
        tables.append(render_table("also", ("figure", "value"), self.facts()))
        body = [
            (e.constant, f"{e.latency:+.2f} %", f"{e.energy:+.2f} %", e.source)
            for e in self.sensitive
        ]
        header = ("constant", "latency", "energy", "source")
        tables.append(render_table("for 1 % more of the three strongest constants", header, body))
        return "\n".join(tables)

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """Return everything that the tables say as plain data."""
        return {
            "figures": self.rows(),
            "layers": self.layers(),
            "area": self.area,
            "utilization": self.schedule.utilization,
            "peak_buffer_bytes": self.peak_buffer,
            "cache_bytes": self.cache,
            "elasticities": [vars(e) for e in self.elasticities],
        }

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw timeline, energy and floor plan; return the figure, or save it."""
        from ._plot_chip import overview

        figure = overview(self)
        return figure if path is None else save(figure, path)

    def to_html(self, path: str | Path) -> Path:
        """Write a page of its own with the tables and the plot."""
        from ._page import cost_page

        target = Path(path)
        target.write_text(cost_page(self), encoding="utf8")
        return target

    def to_accelforge(self, path: str | Path) -> Path:
        """Write the chip as an architecture for AccelForge; see `write_accelforge`."""
        from ._accelforge import write_accelforge

        return write_accelforge(self.chip, path, self.scenario)
