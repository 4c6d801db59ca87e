"""The blocks of a model's weight matrices: what goes on one array each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import nn

from ..errors import SpecError
from ..mapping import Partition, split
from ..nn import convert, restore, sites
from ..spec import diff
from ..tiles import Geometry, Hardware
from ._chip import Chip

Where = Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class Block:
    """A piece of a weight matrix on an array.

    Attributes:
        site: name of the weight matrix.
        part: row-slice; the blocks of one column-slice add up over it.
        column: column-slice.
        slice: digit of the weight, where weights are sliced.
        group: groups of channels that share arrays; blocks of one row-slice and these groups get
            the same inputs.
        rows: rows that it drives.
        cols: columns that it reads.
        cells: of these, cells that hold weights (groups of channels leave some unused).
        replica: copy of the whole matrix that it belongs to.
        core: core it is on; -1 for none.
        array: array of the core.
        row: first row on the array.
        col: first column on the array.
    """

    site: str
    part: int
    column: int
    slice: int
    group: int
    rows: int
    cols: int
    cells: int
    replica: int = 0
    core: int = -1
    array: int = -1
    row: int = 0
    col: int = 0

    def on(self, core: int, array: int, row: int = 0, col: int = 0) -> "Block":
        """Return the block at a place."""
        return replace(self, core=core, array=array, row=row, col=col)


@contextmanager
def on_arrays(model: nn.Module, chip: Chip, where: Where | None) -> Iterator[dict[str, Geometry]]:
    """Put a model on the chip's arrays for a while, if it is not; yield geometries by name.

    Raises:
        SpecError: the model is on other hardware than the chip's, or on arrays and `where` given.
    """
    found = list(sites(model))
    if found and where is not None:
        raise SpecError(
            "`where` says which layers of a digital model go on arrays, and this model is on them "
            "already: leave it out, or make the model digital with mho.restore."
        )
    if found:
        for site in found:
            _check_same(site.crossbar.hardware, chip.hardware)
        yield {site.name: site.crossbar.geometry for site in found}
        return
    convert(model, chip.hardware, where=where)
    try:
        yield {site.name: site.crossbar.geometry for site in sites(model)}
    finally:
        restore(model)


def _check_same(here: Hardware, wanted: Hardware) -> None:
    if here == wanted:
        return
    paths = diff(here, wanted)
    path, (mine, other) = next(iter(paths.items()))
    raise SpecError(
        f"the model is on other hardware than the chip's ({path}: {mine!r} there, {other!r} on the "
        "chip): convert it with chip.hardware, or give the chip that hardware with "
        "chip.with_fields(hardware=...)."
    )


def blocks_of(site: str, geometry: Geometry, hardware: Hardware) -> list[Block]:
    """Cut one weight matrix into blocks, as its tiles do.

    A convolution with groups has a matrix for each group. Several small ones share an array along
    its diagonal, where they do not disturb each other and work in one product.
    """
    rows, cols = hardware.array.rows or 1, hardware.array.cols or 1
    partition = geometry.partition
    if geometry.groups > 1:
        out = geometry.out // geometry.groups
        partition = Partition(
            partition.rows, split(out, cols, hardware.array.partition), rows, cols
        )
    single = len(partition.rows) == len(partition.columns) == 1
    together = 1
    if geometry.groups > 1 and single:
        together = max(1, min(rows // partition.rows[0], cols // partition.columns[0]))
    found, left = [], geometry.groups
    column = group = 0
    while left:
        size, left = min(together, left), left - min(together, left)
        for width in partition.columns:
            for part, height in enumerate(partition.rows):
                for digit in range(geometry.slices):
                    cells = size * height * width
                    drawn = (part, column, digit, group, size * height, size * width, cells)
                    found.append(Block(site, *drawn))
            column += 1
        group += 1
    return found
