"""Several small blocks on one array: shelves, filled first-fit by decreasing height."""

from dataclasses import dataclass, field

from ._blocks import Block


@dataclass
class _Shelf:
    row: int
    height: int
    used: int = 0


@dataclass
class _Bin:
    """One array, filled with shelves from its first row on."""

    shelves: list[_Shelf] = field(default_factory=list)
    height: int = 0

    def place(self, block: Block, rows: int, cols: int) -> tuple[int, int] | None:
        """Return the (row, column) at which a block fits, and take it; None if it does not."""
        for shelf in self.shelves:
            if block.rows <= shelf.height and shelf.used + block.cols <= cols:
                shelf.used += block.cols
                return shelf.row, shelf.used - block.cols
        if self.height + block.rows > rows:
            return None
        self.shelves.append(_Shelf(self.height, block.rows, block.cols))
        self.height += block.rows
        return self.shelves[-1].row, 0


def packed(blocks: list[Block], rows: int, cols: int) -> list[list[Block]]:
    """Return blocks array by array, each at its place; blocks of one array work one at a time.

    First-fit decreasing height uses at most 1.7 times the best height and one shelf (E. G. Coffman
    et al., SIAM J. Comput. 9:808, 1980).
    """
    bins: list[_Bin] = []
    content: list[list[Block]] = []
    for block in sorted(blocks, key=lambda b: (-b.rows, -b.cols)):
        for one, members in zip(bins, content, strict=True):
            spot = one.place(block, rows, cols)
            if spot is not None:
                members.append(block.on(-1, -1, *spot))
                break
        else:
            bins.append(_Bin())
            spot = bins[-1].place(block, rows, cols) or (0, 0)
            content.append([block.on(-1, -1, *spot)])
    return content
