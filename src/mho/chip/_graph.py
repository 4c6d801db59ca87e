"""What a forward pass asks of a chip: products on arrays, digital work, and who waits for whom."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..tiles import Geometry


@dataclass(frozen=True)
class Edge:
    """Data that a node needs.

    Attributes:
        source: the node that makes it; None for what is there from the beginning.
        elements: numbers that are needed.
        streams: whether the first of them suffice to begin with.
    """

    source: int | None
    elements: int
    streams: bool = False


class Window(NamedTuple):
    """Rows of pixels that a row of the output needs: all up to (row step + reach) // per.

    Attributes:
        images: images, one after another.
        outputs: rows of an image at the output.
        inputs: rows of an image at the input.
        step: stride of a convolution.
        reach: last row that the first one needs.
        per: stride of a transposed convolution.
    """

    images: int
    outputs: int
    inputs: int
    step: int
    reach: int
    per: int = 1

    def share(self, upto: float) -> float:
        """Return the share of the input that the output needs up to this share of its own."""
        rows = max(1, math.ceil(upto * self.images * self.outputs - 1e-9))
        image, row = divmod(rows - 1, self.outputs)
        needed = min(max(0, (row * self.step + self.reach) // self.per + 1), self.inputs)
        return (image * self.inputs + needed) / (self.images * self.inputs)


@dataclass
class Node:
    """A step of the forward pass.

    Attributes:
        index: position in the graph; every source comes before.
        name: the module or the operation.
        edges: what it needs.
        outputs: numbers it makes.
        positions: places (pixels, tokens) that its outputs have one after the other.
        window: rows of its input that a row of its output needs; None where places are apart.
        site: name of the weight matrix, for a product on arrays.
        geometry: of that matrix.
        vectors: input vectors of the product.
        multiplications: of digital units, multiply-adds included.
        additions: of digital units, multiply-adds included.
        weights: numbers read from memory that are on no array.
        cache: numbers that must stay in memory for it (keys and values of attention).
        layout: `conv` where places are the last axes, `dense` where they are the first.
    """

    index: int
    name: str
    edges: list[Edge]
    outputs: int
    positions: int = 1
    window: Window | None = None
    site: str | None = None
    geometry: Geometry | None = None
    vectors: int = 0
    multiplications: int = 0
    additions: int = 0
    weights: int = 0
    cache: int = 0
    layout: str | None = None

    @property
    def sink(self) -> bool:
        """Whether this is the model's output, which is only kept."""
        return self.site is None and not self.outputs


@dataclass
class Graph:
    """The steps of one forward pass, in an order in which they can be done."""

    nodes: list[Node] = field(default_factory=list)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def products(self) -> list[Node]:
        """The products on arrays."""
        return [node for node in self.nodes if node.site is not None]

    @property
    def vectors(self) -> dict[str, int]:
        """Input vectors of every weight matrix."""
        found: dict[str, int] = {}
        for node in self.products:
            found[node.site or ""] = found.get(node.site or "", 0) + node.vectors
        return found

    @property
    def cache(self) -> int:
        """Numbers of keys and values in memory."""
        return sum(node.cache for node in self.nodes)

    @property
    def operations(self) -> int:
        """Multiplications and additions of the products on arrays."""
        total = 0
        for node in self.products:
            assert node.geometry is not None
            total += 2 * node.vectors * node.geometry.out * node.geometry.rows
        return total
