"""Where every block of a model is on a chip, and how well that uses it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..deploy import save
from ..spec import render_table
from ._blocks import Block
from ._chip import Chip


@dataclass(frozen=True)
class Placement:
    """Blocks on the arrays of a chip.

    Attributes:
        chip: the chip.
        blocks: with their core, array and place on it; replicas included.
        missing: blocks that found no array.
        needed: arrays that the model needs, with the copies that were asked for by name.
    """

    chip: Chip
    blocks: tuple[Block, ...]
    missing: tuple[Block, ...] = ()
    needed: int = 0

    @property
    def fits(self) -> bool:
        """Whether every block found an array."""
        return not self.missing

    @cached_property
    def by_site(self) -> dict[str, list[Block]]:
        """The blocks of every weight matrix."""
        found: dict[str, list[Block]] = {}
        for block in self.blocks:
            found.setdefault(block.site, []).append(block)
        return found

    def replicas(self, site: str) -> int:
        """Return the copies of a weight matrix."""
        return 1 + max((block.replica for block in self.by_site.get(site, [])), default=-1)

    @property
    def cores(self) -> int:
        """Cores in use."""
        return len({block.core for block in self.blocks})

    @property
    def arrays(self) -> int:
        """Arrays in use."""
        return len({(block.core, block.array) for block in self.blocks})

    @property
    def weights(self) -> int:
        """Cells that hold weights, of all copies."""
        return sum(block.cells for block in self.blocks)

    @property
    def utilization(self) -> float:
        """Share of the cells of the arrays in use that hold weights."""
        return self.weights / (max(1, self.arrays) * self.chip.rows * self.chip.cols)

    @property
    def occupation(self) -> float:
        """Share of all cells of the chip that hold weights."""
        return self.weights / (self.chip.arrays * self.chip.rows * self.chip.cols)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per weight matrix."""
        found = []
        for site, blocks in self.by_site.items():
            cells, copies = sum(b.cells for b in blocks), self.replicas(site)
            arrays = {(b.core, b.array) for b in blocks}
            found.append({
                "matrix": site,
                "blocks": len(blocks) // copies,
                "copies": copies,
                "arrays": len(arrays),
                "shared": sum((b.core, b.array) in arrays for b in self.blocks) - len(blocks),
                "utilization": cells / (len(blocks) * self.chip.rows * self.chip.cols),
            })  # fmt: skip
        lost: dict[str, int] = {}
        for block in self.missing:
            lost[block.site] = lost.get(block.site, 0) + 1
        for site, count in lost.items():
            found.append({"matrix": f"{site} (left out)", "blocks": count, "copies": 0,
                          "arrays": 0, "shared": 0, "utilization": 0.0})  # fmt: skip
        return found

    def table(self) -> str:
        """Return the table as text."""
        header = ("matrix", "blocks", "copies", "arrays", "others on them", "cells used")
        body = [
            (row["matrix"], *(str(row[n]) for n in ("blocks", "copies", "arrays", "shared")),
             f"{row['utilization']:.0%}")
            for row in self.rows()
        ]  # fmt: skip
        title = (
            f"{self.arrays} of {self.chip.arrays} arrays on {self.cores} of "
            f"{self.chip.core.count} cores, {self.utilization:.0%} of their cells"
        )
        if self.missing:
            title += f"; {len(self.missing)} blocks do not fit ({self.needed} arrays are needed)"
        return render_table(title, header, body)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the floor plan; return the figure, or save it."""
        from ._plot_chip import floor_plan

        figure = floor_plan(self)
        return figure if path is None else save(figure, path)
