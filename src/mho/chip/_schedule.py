"""When everything happens: an event-driven schedule of several inputs on one chip."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deploy import progress
from ._work import Demand, Key, Station, Work

Events = Generator[Any, Any, Any]


@dataclass(frozen=True)
class Span:
    """Something that happened: which input, what, where, from when to when [s]."""

    job: int
    name: str
    kind: str
    start: float
    end: float


@dataclass
class Schedule:
    """What a simulation saw.

    Attributes:
        starts: when each input was first worked on [s].
        ends: when each input was done [s].
        spans: what happened.
        busy: seconds that resources of each kind were in use, added up.
        capacity: how many there are of each kind.
        peak_bits: most bits of activations that waited at once.
    """

    starts: list[float]
    ends: list[float]
    spans: list[Span]
    busy: dict[str, float]
    capacity: dict[str, int]
    peak_bits: float

    @property
    def makespan(self) -> float:
        """Time from the first start to the last end [s]."""
        return max(self.ends) - min(self.starts)

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Time of each input on the chip [s]."""
        return np.array(self.ends) - np.array(self.starts)

    @property
    def throughput(self) -> float:
        """Inputs per second, once the pipeline is full."""
        ends = sorted(self.ends)
        if len(ends) < 2 or ends[-1] == ends[0]:
            return len(ends) / self.makespan
        return (len(ends) - 1) / (ends[-1] - ends[0])

    @property
    def utilization(self) -> dict[str, float]:
        """Share of the time that resources of each kind were in use."""
        whole = self.makespan
        return {kind: self.busy[kind] / (whole * n) for kind, n in self.capacity.items()}


@dataclass
class _State:
    """The simulation's bookkeeping."""

    starts: list[float]
    ends: list[float]
    spans: list[Span] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)
    made: dict[tuple[int, int], list[float]] = field(default_factory=dict)


class Simulation:
    """Nodes are cut into chunks of places; a chunk waits for its data, then for its resources.

    Who has waited for a resource is served in the order of inputs, then of arrival.

    Args:
        demand: the work of one input.
        inputs: inputs that go through.
        interval: time between their arrivals [s].
        chunks: most chunks of one node and input.
    """

    def __init__(self, demand: Demand, inputs: int, interval: float, chunks: int) -> None:
        import simpy

        self.demand, self.inputs, self.interval = demand, inputs, interval
        self.env = simpy.Environment()
        chip, number = demand.chip, demand.figures
        self.bandwidth, self.hop = number("links.bandwidth"), number("links.latency")
        self.speed = {"memory": number("memory.bandwidth"), "dram": number("dram.bandwidth")}
        self.pools = {
            "links": simpy.PriorityResource(self.env, chip.links.channels),
            "memory": simpy.PriorityResource(self.env, chip.memory.ports),
            "digital": simpy.PriorityResource(self.env, chip.digital.count),
        }
        if chip.dram is not None:
            self.pools["dram"] = simpy.PriorityResource(self.env, chip.dram.ports)
        keys = {s.key for w in demand.works for stations in w.copies for s in stations}
        self.stations: dict[Key, Any] = {
            k: simpy.PriorityResource(self.env, 1) for k in sorted(keys)
        }
        # A copy of a matrix takes in one vector after the other, however many channels there are.
        self.ports: dict[Key, Any] = {
            (work.node.site or "", part): simpy.PriorityResource(self.env, len(work.copies))
            for work in demand.works
            if work.copies
            for part in range(len(work.streams))
        }
        self.counts = [min(chunks, work.node.positions) for work in demand.works]
        self.state = _State([float("inf")] * inputs, [0.0] * inputs)
        self.done: dict[tuple[int, int, int], Any] = {}

    def run(self, show: bool = False) -> Schedule:
        """Simulate to the end.

        Args:
            show: show the progress on a terminal.
        """
        for job in range(self.inputs):
            for index, count in enumerate(self.counts):
                for k in range(count):
                    self.done[job, index, k] = self.env.event()
        for job in range(self.inputs):
            for work, count in zip(self.demand.works, self.counts, strict=True):
                for k in range(count):
                    self.env.process(self._chunk(job, work, k, count))
        ends = [self.done[job, i, n - 1] for job in range(self.inputs)
                for i, n in enumerate(self.counts)]  # fmt: skip
        for event in progress(ends, "scheduling") if show else ends:
            # Not run(until=event): that forgets those who began to wait for the event later.
            while not event.processed:
                self.env.step()
        self.env.run()
        return self._result()

    def _result(self) -> Schedule:
        chip = self.demand.chip
        capacity = {"cores": chip.core.count, "links": chip.links.channels,
                    "memory": chip.memory.ports, "digital": chip.digital.count}  # fmt: skip
        if chip.dram is not None:
            capacity["dram"] = chip.dram.ports
        busy = {kind: self.state.busy.get(kind, 0.0) for kind in capacity}
        spans = sorted(self.state.spans, key=lambda s: (s.start, s.job, s.name))
        return Schedule(self.state.starts, self.state.ends, spans, busy, capacity, self._peak())

    def _chunk(self, job: int, work: Work, k: int, count: int) -> Events:
        """One chunk of one node for one input."""
        node = work.node
        if job and self.interval and self.env.now < job * self.interval:
            yield self.env.timeout(job * self.interval - self.env.now)
        upto = (k + 1) / count if node.window is None else node.window.share((k + 1) / count)
        waits = [self._needed(job, edge.source, upto if edge.streams else 1.0)
                 for edge in node.edges if edge.source is not None]  # fmt: skip
        if waits:
            yield self.env.all_of(waits)
        units = max(1, node.vectors)
        vectors = units * (k + 1) // count - units * k // count
        share = vectors / units if node.vectors else 1 / count
        for pool, bits in (("dram", work.dram), ("memory", work.memory)):
            if bits:
                yield from self._hold(pool, share * bits / self.speed[pool], job, node.name)
        arrived = self.env.now
        if work.streams:
            arrived = yield from self._transfer(job, work, share, vectors if node.vectors else 1)
        if work.copies:
            begin = job * units + units * k // count  # inputs take copies in turn as well
            sums: list[Any] = []
            yield self.env.all_of(self._products(job, work, begin, begin + vectors, arrived, sums))
            yield self.env.timeout(work.fill)
            yield self.env.all_of(sums)
        else:
            if arrived > self.env.now:
                yield self.env.timeout(arrived - self.env.now)
            if work.digital:
                yield from self._hold("digital", share * work.digital, job, node.name)
        if k:  # who waits for a chunk waits for those before it
            yield self.done[job, node.index, k - 1]
        self._finish(job, node.index, k)

    def _needed(self, job: int, source: int, share: float) -> Any:
        """Return the event after which a share of a node's data is there."""
        last = int(np.ceil(share * self.counts[source] - 1e-9)) - 1
        return self.done[job, source, max(0, last)]

    def _finish(self, job: int, index: int, k: int) -> None:
        self.state.made.setdefault((job, index), []).append(self.env.now)
        self.state.ends[job] = max(self.state.ends[job], self.env.now)
        self.done[job, index, k].succeed()

    def _note(self, job: int, name: str, kind: str, start: float, busy: float) -> None:
        self.state.starts[job] = min(self.state.starts[job], start)
        self.state.busy[kind] = self.state.busy.get(kind, 0.0) + busy
        self.state.spans.append(Span(job, name, kind, start, self.env.now))

    def _hold(self, pool: str, duration: float, job: int, name: str) -> Events:
        with self.pools[pool].request(job) as request:
            yield request
            start = self.env.now
            yield self.env.timeout(duration)
            self._note(job, name, pool, start, duration)

    def _transfer(self, job: int, work: Work, share: float, vectors: int) -> Events:
        """Begin all transfers of a chunk; go on when its first vector is there.

        Returns:
            When the last vector will be there.
        """
        granted, latency = [], work.hops * self.hop
        for part, bits in enumerate(work.streams):
            start = self.env.event()
            port = self.ports.get((work.node.site or "", part))
            self.env.process(self._stream(job, work.node.name, share * bits, start, port))
            granted.append((start, share * bits / self.bandwidth))
        yield self.env.all_of([start for start, _ in granted])
        first = max(start.value + length / vectors for start, length in granted) + latency
        last = max(start.value + length for start, length in granted) + latency
        if first > self.env.now:
            yield self.env.timeout(first - self.env.now)
        return last

    def _stream(self, job: int, name: str, bits: float, granted: Any, port: Any) -> Events:
        if port is not None:
            with port.request(job) as turn:
                yield turn
                yield from self._send(job, name, bits, granted)
        else:
            yield from self._send(job, name, bits, granted)

    def _send(self, job: int, name: str, bits: float, granted: Any) -> Events:
        with self.pools["links"].request(job) as request:
            yield request
            start = self.env.now
            granted.succeed(start)
            yield self.env.timeout(bits / self.bandwidth)
            self._note(job, name, "links", start, bits / self.bandwidth)

    def _products(
        self, job: int, work: Work, begin: int, end: int, arrived: float, sums: list[Any]
    ) -> list[Any]:
        """Give vectors from `begin` to before `end` to the copies of a matrix in turn."""
        copies, found = len(work.copies), []
        for k, stations in enumerate(work.copies):
            own = (end - k + copies - 1) // copies - (begin - k + copies - 1) // copies
            for station in stations if own else ():
                event = self._product(job, work, station, own, arrived, sums)
                found.append(self.env.process(event))
        return found

    def _product(
        self, job: int, work: Work, station: Station, vectors: int, arrived: float, sums: list[Any]
    ) -> Events:
        name = work.node.name
        with self.stations[station.key].request(job) as request:
            yield request
            start = self.env.now
            busy = vectors * station.seconds
            for bits in station.sums:
                sums.append(self.env.process(self._sum(job, work, station, vectors * bits)))
            yield self.env.timeout(max(busy, arrived + station.seconds - start))
            self._note(job, name, "cores", start, busy * station.cores)

    def _sum(self, job: int, work: Work, station: Station, bits: float) -> Events:
        """Send partial sums to the core that adds them, from the first product on."""
        yield self.env.timeout(station.product)
        yield from self._send(job, work.node.name, bits, self.env.event())
        yield self.env.timeout(work.tail)

    def _peak(self) -> float:
        """Return the most bits that were made and not yet used by everyone who needs them."""
        graph, changes = self.demand.graph, []
        users: dict[int, list[int]] = {}
        for node in graph:
            for edge in node.edges:
                if edge.source is not None:
                    users.setdefault(edge.source, []).append(node.index)
        for (job, index), times in self.state.made.items():
            if index not in users:
                continue
            bits = graph.nodes[index].outputs * self.demand.bits
            changes += [(time, bits / len(times)) for time in times]
            freed = _slowest([self.state.made[job, user] for user in users[index]])
            changes += [(time, -bits / len(freed)) for time in freed]
        changes.sort(key=lambda c: (c[0], c[1]))
        return float(max(np.cumsum([c[1] for c in changes]), default=0.0)) if changes else 0.0


def _slowest(users: list[list[float]]) -> list[float]:
    """Return when the slowest of several users is so far, in as many steps as the finest has."""
    steps = max(map(len, users))
    return [
        max(times[-(-(k + 1) * len(times) // steps) - 1] for times in users) for k in range(steps)
    ]
