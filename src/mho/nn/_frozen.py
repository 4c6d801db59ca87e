"""Programmed arrays whose frozen weights were changed under them, as merged adapters do."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import LifecycleError
from ._crossbar import Crossbar

SAMPLE = 8
"""Most columns that are looked at: the product of two dense factors changes every column."""


def refuse_changed(crossbar: Crossbar, args: tuple[Any, ...]) -> None:
    """Refuse a product of programmed cells, before it, if their frozen target is not what it was.

    An optimizer may train the target of programmed cells, and they are programmed anew later. A
    frozen target changes when something is added to it by hand, such as the product of two adapter
    matrices, which is then gone from the adapter and missing from the cells. The same holds for a
    target that is computed anew for each product, as PEFT does in attention layers of torch.

    Looks where finding out costs no waiting. A mapping of fixed scaling keeps nothing to compare.

    Raises:
        LifecycleError: the weights are not those that were programmed.
    """
    weight: Tensor = args[1]
    if crossbar.scale is None or torch.compiler.is_compiling():
        return
    if weight.device.type != "cpu" or crossbar.hardware.mapping.scaling == "fixed":
        return
    try:
        changed = not _is_trained(weight) and _changed(crossbar, weight.detach())
    except RuntimeError:  # under vmap, and with fake tensors, values are not known
        return
    if changed:
        raise LifecycleError(
            f"{crossbar.name}: the frozen weight is not the one that was programmed; was an "
            "adapter merged into it? Cells do not follow. Program the merged weights with "
            "mho.program(model, seed=...), or keep the adapter beside the arrays."
        )


def _is_trained(weight: Tensor) -> bool:
    """Whether a weight is a Parameter that is trained, or a view of one."""
    whole = weight if weight._base is None else weight._base
    return whole.requires_grad and whole.is_leaf


def _is_frozen(weight: Tensor) -> bool:
    """Whether a matrix is a frozen Parameter or a view of one; of copies nothing is known."""
    owner = weight._base if weight._base is not None else weight
    return isinstance(owner, nn.Parameter) and not owner.requires_grad


def _changed(crossbar: Crossbar, weight: Tensor) -> bool:
    """Compare the largest |w| of some columns (of one array) with what was kept at programming."""
    assert crossbar.scale is not None
    by_column = crossbar.hardware.mapping.scaling == "column"
    partition = crossbar.geometry.partition
    if crossbar.clip_bound is not None:
        weight = crossbar.target(weight)
    columns = slice(None, None, -(-len(weight) // SAMPLE))
    if not by_column:  # one scale for all columns of an array
        columns = slice(partition.columns[0])
    largest = weight[columns, : partition.rows[0]].abs().amax(1)
    kept = crossbar.scale[0, columns]
    if not by_column:
        largest, kept = largest.amax(0, keepdim=True), kept[:1]
    known = largest > 0  # a column of zeros has the scale of its neighbors
    largest, kept = largest[known], kept[known]
    # Rounding is monotone: a model that was cast since has the rounded largest weight.
    casts = (torch.float32, torch.bfloat16, torch.float16)
    return not any(torch.equal(kept.to(cast).float(), largest.float()) for cast in casts)
