"""What is done to weights after an optimizer step, and to values that are sharded."""

from typing import Any

import torch
from torch import Tensor

from ..nn import Site, gathered
from ._clip import Clip


def in_layout(full: Tensor, like: Any) -> Tensor:
    """Return a whole tensor in the layout of one that may be sharded over processes."""
    if not hasattr(like, "device_mesh"):
        return full
    from torch.distributed.tensor import distribute_tensor

    # Every process has the whole already: nobody needs to send it.
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def write(parameter: Tensor, full: Tensor) -> None:
    """Write whole values into a Parameter that may be sharded."""
    parameter.copy_(in_layout(full.to(parameter.dtype), parameter))


def clip_weight(site: Site, clip: Clip) -> None:
    """Limit a weight, in place."""
    matrix = site.matrix
    bound = clip.bound(matrix, site.crossbar.geometry)
    if _is_view(matrix, site.weight):
        # Several times as fast as a clamp between tensors.
        torch.maximum(torch.minimum(matrix, bound, out=matrix), -bound, out=matrix)
        return
    limited = matrix.clamp(-bound, bound)
    if not torch.equal(limited, matrix):
        write(site.weight, site.shaped(limited))


def _is_view(matrix: Tensor, weight: Tensor) -> bool:
    """Whether writing a matrix writes a Parameter."""
    return matrix is weight or matrix._base is weight


def remap_target(site: Site) -> float:
    """Return the weight that remapping moves the largest one to."""
    return site.crossbar.hardware.mapping.w_max or 1.0


def remap_weight(site: Site, by: str) -> None:
    """Move the largest weight to `remap_target` and its size into the digital output scale.

    W / m and m times the scale, with m = max|W| / w_max: the layer's function stays.
    """
    crossbar, matrix = site.crossbar, site.matrix
    assert crossbar.output_scale is not None
    largest = matrix.abs().amax(1)
    if by == "layer":
        largest = largest.amax().expand_as(largest)
    moved = torch.where(largest > 0, largest / remap_target(site), 1.0)
    write(site.weight, site.shaped(matrix / moved[:, None]))
    write(crossbar.output_scale, gathered(crossbar.output_scale) * moved)
