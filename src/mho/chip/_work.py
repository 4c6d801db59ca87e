"""What every node of a graph takes of a chip: transfers, memory, arrays, digital units."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ..errors import CapacityError
from ._blocks import Block
from ._chip import Chip
from ._figures import Figures
from ._graph import Graph, Node
from ._placement import Placement
from ._product import Product
from ._timing import drive_levels

SUM_BITS = 16
"""Bits of a partial sum on its way to the core that adds it."""

Key = tuple[str, int]


def activation_bits(chip: Chip) -> int:
    """Return the bits of an activation between layers: those of the DAC."""
    return chip.hardware.dac.bits or (2 * drive_levels(chip.hardware)).bit_length()


@dataclass(frozen=True)
class Station:
    """Cores that one copy of a matrix keeps busy together, or one core that others use too.

    Attributes:
        key: what the schedule calls it.
        seconds: between one vector and the next.
        cores: how many cores are busy for so long, as a sum over their own times.
        product: time after which the first vector has its partial sums.
        sums: bits of a vector's partial sums that each core sends to the one that adds them.
    """

    key: Key
    seconds: float
    cores: float
    product: float
    sums: tuple[float, ...]


@dataclass
class Work:
    """The demand of one node for one input of the model.

    Attributes:
        node: the node.
        streams: bits of transfers that run side by side.
        hops: of the longest transfer.
        sum_hops: of the longest way of a partial sum.
        memory: bits read and written on the chip's memory.
        dram: bits read from and written to the memory beside the chip.
        copies: stations by copy of the matrix.
        tail: time of a vector's last partial sum on its way, and of the local digital unit.
        fill: time of one vector after its station, where the next is not held up.
        digital: time on one digital unit.
        energy: by component [J].
    """

    node: Node
    streams: list[float] = field(default_factory=list)
    hops: float = 1.0
    sum_hops: float = 1.0
    memory: float = 0.0
    dram: float = 0.0
    copies: list[list[Station]] = field(default_factory=list)
    tail: float = 0.0
    fill: float = 0.0
    digital: float = 0.0
    energy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


def hops(chip: Chip, start: int | None, end: int | None) -> int:
    """Return the hops between two cores; the memory and the digital units are at core 0."""
    if chip.links.topology == "bus":
        return 1
    width = max(1, round(chip.core.count**0.5))
    (r0, c0), (r1, c1) = (divmod(core or 0, width) for core in (start, end))
    return max(1, abs(r0 - r1) + abs(c0 - c1))


class Demand:
    """The work of all nodes of a graph on a placement.

    Raises:
        CapacityError: keys, values and weights that are on no array do not fit any memory.
    """

    def __init__(self, graph: Graph, placement: Placement, figures: Figures) -> None:
        self.graph, self.placement, self.figures = graph, placement, figures
        self.chip, self.bits = figures.chip, activation_bits(figures.chip)
        self.outside = _kept_outside(graph, self.chip, self.bits)
        self._products: dict[tuple[int, int], Product] = {}
        self._sharing = Counter(
            (b.core) for b in {(b.core, b.site, b.replica): b for b in placement.blocks}.values()
        )
        self.works = [self._work(node) for node in graph]

    def _product(self, rows: int, cols: int) -> Product:
        if (rows, cols) not in self._products:
            self._products[rows, cols] = Product(self.figures, rows, cols)
        return self._products[rows, cols]

    def _home(self, source: int | None) -> int | None:
        """Return the core that a node's result is on; None for the memory."""
        if source is None or self.graph.nodes[source].site is None:
            return None
        return self.placement.by_site[self.graph.nodes[source].site or ""][0].core

    def _work(self, node: Node) -> Work:
        work = Work(node)
        number = self.figures
        for edge in node.edges:
            elements, home = edge.elements, self._home(edge.source)
            if edge.source is None:
                elements -= self._from_dram(node)
            bits = elements * self.bits
            if home is not None and node.site is None:  # from a core into the memory
                work.memory += bits
                work.energy["memory"] += bits * number("memory.write")
            if (home is None or node.site is None) and not node.sink:
                work.memory += bits
                work.energy["memory"] += bits * number("memory.read")
        if node.site is None:
            self._digital(work)
        else:
            self._arrays(work)
        for name in [name for name, joule in work.energy.items() if not joule]:
            del work.energy[name]
        return work

    def _from_dram(self, node: Node) -> int:
        """Return the numbers of earlier keys and values that are beside the chip."""
        before = sum(edge.elements for edge in node.edges if edge.source is None)
        return min(before, node.cache) if self.outside else 0

    def _digital(self, work: Work) -> None:
        """Fill in a node of the shared digital units: data comes from memory and goes there."""
        node, number, chip = work.node, self.figures, self.chip
        arriving = [e for e in node.edges if self._home(e.source) is not None]
        for edge in arriving:
            distance = hops(chip, self._home(edge.source), None)
            work.hops = max(work.hops, distance)
            work.energy["links"] += edge.elements * self.bits * distance * number("links.energy")
        if arriving:
            work.streams = [sum(e.elements for e in arriving) * self.bits]
        kept, fresh = node.cache + node.weights, node.cache - self._from_dram(node)
        work.memory += node.outputs * self.bits
        work.energy["memory"] += node.outputs * self.bits * number("memory.write")
        if self.outside:
            work.dram = (kept + fresh) * self.bits
            work.energy["dram"] += kept * self.bits * number("dram.read")
            work.energy["dram"] += fresh * self.bits * number("dram.write")
        else:  # keys and values are among the edges already
            work.memory += node.weights * self.bits
            work.energy["memory"] += node.weights * self.bits * number("memory.read")
        cycles = max(node.multiplications, node.additions) / chip.digital.lanes
        work.digital = cycles / number("digital.clock")
        work.energy["digital"] += node.multiplications * number("digital.multiply")
        work.energy["digital"] += node.additions * number("digital.add")

    def _arrays(self, work: Work) -> None:
        """Fill in a product on arrays."""
        node = work.node
        blocks = self.placement.by_site[node.site or ""]
        first = [block for block in blocks if block.replica == 0]
        elements = sum(edge.elements for edge in node.edges)
        start = self._home(node.edges[0].source) if node.edges else None
        self._inputs(work, first, elements, start)
        local = self._columns(work, first)
        count = 1 + max(block.replica for block in blocks)
        for replica in range(count):
            own = [block for block in blocks if block.replica == replica]
            work.copies.append(self._stations(node, replica, own, local))
        stations = [station for copy in work.copies for station in copy]
        sums = max((bits for s in stations for bits in s.sums), default=0.0)
        work.tail = local + (self.figures("links.latency") * work.sum_hops if sums else 0.0)
        way = sums / self.figures("links.bandwidth") + work.tail
        # The station holds back the next vector; what else a vector needs comes on top.
        slowest = max(station.seconds for station in stations)
        work.fill = max(0.0, max(station.product for station in stations) + way - slowest)

    def _inputs(self, work: Work, first: list[Block], elements: int, start: int | None) -> None:
        """Every activation comes to a core once; its buffer repeats what patches share."""
        number, node, chip = self.figures, work.node, self.chip
        heights: dict[tuple[int, int], list[Block]] = {}
        for block in first:
            heights.setdefault((block.group, block.part), []).append(block)
        total = sum(own[0].rows for own in heights.values())
        for own in heights.values():
            bits = elements * own[0].rows / total * self.bits
            work.streams.append(bits)
            distances = [hops(chip, start, block.core) for block in own]
            work.hops = max(work.hops, *distances)
            heard = 1 if chip.links.topology == "bus" else sum(distances)
            work.energy["links"] += bits * heard * number("links.energy")
            repeated = node.vectors * own[0].rows * self.bits * len(own)
            work.energy["memory"] += bits * len(own) * number("memory.write")
            work.energy["memory"] += repeated * number("memory.read")

    def _columns(self, work: Work, first: list[Block]) -> float:
        """Energy of the blocks and of what becomes of their columns; return the time of that."""
        number, node, local = self.figures, work.node, self.chip.core.local
        multiply, add = number("core.local.multiply"), number("core.local.add")
        for block in first:
            product = self._product(block.rows, block.cols)
            for name, joule in product.energy.items():
                work.energy[name] += node.vectors * joule
            work.energy["local digital"] += node.vectors * block.cols * product.correction
        adders = _adders(first)
        sums = sum(block.cols for block in first) - sum(b.cols for b in adders.values())
        work.energy["local digital"] += node.vectors * sums * add
        for block in first:
            goal = adders[block.column].core
            if block.core != goal:
                far = hops(self.chip, block.core, goal)
                work.sum_hops = max(work.sum_hops, far)
                moved = node.vectors * block.cols * SUM_BITS
                work.energy["links"] += moved * far * number("links.energy")
        work.energy["local digital"] += node.multiplications * multiply + node.additions * add
        widest = max(block.cols for block in first)
        codes = self._product(first[0].rows, first[0].cols).codes
        own = max(node.multiplications, node.additions) / node.outputs * widest
        cycles = (codes * widest + sums / len(adders) + own) / (local.lanes * local.count)
        return cycles / number("core.local.clock")

    def _stations(self, node: Node, replica: int, own: list[Block], local: float) -> list[Station]:
        """Return what one copy of a matrix occupies; blocks of one core take turns."""
        busy: dict[int, float] = {}
        locally: dict[int, float] = {}
        sent: dict[int, float] = {}
        adders = _adders(own)
        for block in own:
            time = self._product(block.rows, block.cols).time
            busy[block.core] = busy.get(block.core, 0.0) + time
            locally[block.core] = locally.get(block.core, 0.0) + local
            if block.core != adders[block.column].core:
                sent[block.core] = sent.get(block.core, 0.0) + block.cols * SUM_BITS
        rate = self.figures("links.bandwidth")
        between = {c: max(busy[c], locally[c], sent.get(c, 0.0) / rate) for c in busy}
        if all(self._sharing[core] == 1 for core in busy):
            seconds, key = max(between.values()), (node.site or "", replica)
            cores, longest = sum(busy.values()) / seconds, max(busy.values())
            return [Station(key, seconds, cores, longest, tuple(sent.values()))]
        return [
            Station(
                ("core", core), between[core], time / between[core], time,
                (sent[core],) if core in sent else (),
            )
            for core, time in busy.items()
        ]  # fmt: skip

    @property
    def energy(self) -> dict[str, float]:
        """Energy of one input by component [J], without what flows while nothing happens."""
        total: dict[str, float] = {}
        for work in self.works:
            for name, joule in work.energy.items():
                total[name] = total.get(name, 0.0) + joule
        return total


def _adders(blocks: list[Block]) -> dict[int, Block]:
    """Return the block of every column-slice on whose core partial sums are added: the first."""
    found: dict[int, Block] = {}
    for block in blocks:
        found.setdefault(block.column, block)
    return found


def _kept_outside(graph: Graph, chip: Chip, bits: int) -> bool:
    """Whether what must stay in memory is beside the chip, because it is too much for it."""
    weights = sum(node.weights for node in graph)
    needed = (graph.cache + weights) * bits / 8
    if needed <= chip.memory.capacity:
        return False
    what = (
        f"keys and values ({graph.cache * bits / 8:,.0f} bytes) and weights that are on no array "
        f"({weights * bits / 8:,.0f} bytes)"
    )
    if chip.dram is None:
        raise CapacityError(
            f"{what} do not fit the chip's memory of {chip.memory.capacity:,} bytes, and it has no "
            "`dram`: give it one, a larger `memory.capacity`, or put more layers on arrays."
        )
    if needed > chip.dram.capacity:
        raise CapacityError(f"{what} do not fit the `dram` of {chip.dram.capacity:,} bytes.")
    return True
