"""Put the blocks of a model on the arrays of a chip."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ..errors import CapacityError, RangeError
from ..spec import nearest
from ..tiles import Geometry
from ._blocks import Block, Where, blocks_of, on_arrays
from ._chip import Chip, as_chip
from ._pack import packed
from ._placement import Placement
from ._trace import trace

Replicate = bool | Mapping[str, int]


def place(
    model: nn.Module,
    chip: Chip | str | Path,
    example: Any = None,
    *,
    where: Where | None = None,
    pack: bool | Literal["auto"] = "auto",
    replicate: Replicate = True,
    strict: bool = True,
) -> Placement:
    """Place the weight matrices of a model on the arrays of a chip.

    Matrices are cut into blocks exactly as `mho.convert` cuts them; the model is left as it was.

    Args:
        model: a digital model, or one that is on the chip's hardware.
        chip: a chip, or the name or path of one.
        example: one input, which says how often each matrix is used; without it nothing is
            replicated for throughput.
        where: which modules go on arrays, as in `mho.convert`; for a digital model.
        pack: put several small blocks on one array, where they take turns; "auto" only if the
            model does not fit otherwise.
        replicate: use cores that are left for copies of the matrices that take longest; or the
            number of copies by name.
        strict: refuse a model that does not fit, instead of reporting what is left out.

    Raises:
        CapacityError: the model needs more arrays than the chip has.
        RangeError: a number of copies is less than 1, or of an unknown matrix.
        SpecError: the model is on other hardware than the chip's, or on arrays and `where` given.
    """
    chip = as_chip(chip)
    with on_arrays(model, chip, where) as geometries:
        vectors = trace(model, example).vectors if example is not None else {}
    return placed(geometries, chip, vectors, pack, replicate, strict)


def placed(
    geometries: Mapping[str, Geometry],
    chip: Chip,
    vectors: Mapping[str, int],
    pack: bool | Literal["auto"],
    replicate: Replicate,
    strict: bool,
) -> Placement:
    """Place matrices of these geometries, used with so many vectors each."""
    blocks = {n: blocks_of(n, g, chip.hardware) for n, g in geometries.items()}
    copies = _asked_for(replicate, blocks)
    wanted = [b for name, own in blocks.items() for b in _copied(own, copies.get(name, 1))]
    packing = len(wanted) > chip.arrays if pack == "auto" else pack
    arrays = packed(wanted, chip.rows, chip.cols) if packing else [[b] for b in wanted]
    fits, missing = arrays[: chip.arrays], arrays[chip.arrays :]
    left_out = tuple(block for array in missing for block in array)
    if left_out and strict:
        _refuse(chip, len(arrays), len(wanted), packing, left_out)
    on = _on_cores(fits, chip)
    used = len({block.core for block in on})
    if replicate is True and vectors and not left_out:
        on += _replicas(blocks, dict(vectors), chip, used)
    return Placement(chip, tuple(on), left_out, len(arrays))


def _asked_for(replicate: Replicate, blocks: Mapping[str, list[Block]]) -> dict[str, int]:
    if isinstance(replicate, bool):
        return {}
    for name, count in replicate.items():
        if name not in blocks:
            raise RangeError(f"no matrix {name!r} to replicate{nearest(name, blocks)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise RangeError(f"copies of {name} must be a whole number from 1 on, got {count!r}.")
    return dict(replicate)


def _copied(blocks: list[Block], copies: int) -> list[Block]:
    return [replace(block, replica=k) for k in range(copies) for block in blocks]


def _on_cores(arrays: list[list[Block]], chip: Chip) -> list[Block]:
    """Give arrays to cores, one each before any gets its second: those of a core take turns."""
    return [
        block.on(k % chip.core.count, k // chip.core.count, block.row, block.col)
        for k, array in enumerate(arrays)
        for block in array
    ]


def _replicas(
    blocks: Mapping[str, list[Block]], vectors: dict[str, int], chip: Chip, used: int
) -> list[Block]:
    """Copy the matrix that is busy longest, again and again, while unused cores last."""
    copies, found = dict.fromkeys(blocks, 1), []
    while vectors:
        slowest = max(vectors, key=lambda name: vectors[name] / copies[name])
        own = blocks[slowest]
        if len(own) > chip.core.count - used or copies[slowest] >= vectors[slowest]:
            break
        for k, block in enumerate(_copied(own, copies[slowest] + 1)[-len(own) :]):
            found.append(block.on(used + k, 0))
        used += len(own)
        copies[slowest] += 1
    return found


def _refuse(
    chip: Chip, arrays: int, blocks: int, packing: bool, left_out: tuple[Block, ...]
) -> None:
    cores = -(-arrays // chip.core.arrays)
    names = list(dict.fromkeys(block.site for block in left_out))
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    how = "packed" if packing else "not packed; try pack='auto'"
    raise CapacityError(
        f"the model does not fit: its {blocks} blocks need {cores} cores ({how}), the chip has "
        f"{chip.core.count} of {chip.core.arrays} array(s) of {chip.rows} x {chip.cols}. Left out: "
        f"{listed}. Leave layers digital with `where`, take a chip with more cores "
        '(mho.override(chip, {"core.count": ...})), or report with strict=False.'
    )
