"""What cells compute as, once wires and the combination rule of their arrays have acted."""

import torch
from torch import Tensor

from ._geometry import Geometry
from ._hardware import Hardware


def effective(g: Tensor, hardware: Hardware, geometry: Geometry) -> Tensor:
    """Return the conductances of ideal arrays that give the same signals.

    Each array is a circuit of its own: conductances never act on those of another one.

    Args:
        g: conductances (planes, out, rows) [S].
        hardware: its array.
        geometry: how the weights lie on the arrays.
    """
    if not hardware.array_acts:
        return g
    array, partition = hardware.array, geometry.partition
    slices = []
    for columns in g.split(list(partition.columns), dim=1):
        arrays = columns.split(list(partition.rows), dim=2)
        if len(set(partition.rows)) == 1:  # all at once
            whole = array.combine.effective(torch.stack(arrays), array.wires)
            slices.append(torch.cat(whole.unbind(), dim=2))
        else:
            each = [array.combine.effective(one, array.wires) for one in arrays]
            slices.append(torch.cat(each, dim=2))
    return torch.cat(slices, dim=1)
