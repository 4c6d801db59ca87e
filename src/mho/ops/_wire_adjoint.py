"""The gradient of an array's transfer with respect to its conductances, by the adjoint network.

A cell c between its lines has the voltage B_ck when driver k is at 1 and all others at 0, and A_cj
when the read-out j is driven by 1 instead (reciprocity: the same network). Then

    d M_jk / d g_c = -A_cj B_ck,   d loss / d g_c = -sum_jk (d loss / d M_jk) A_cj B_ck

exactly (Director & Rohrer, IEEE Trans. Circuit Theory 16, 318-323, 1969). Both voltages come from
the Norton equivalents of the sweep, from the last line back to the first; the sum over j is taken
before, by driving all read-outs at once with column k of d loss / d M.
"""

import torch
from torch import Tensor

from ._wire_sweep import Level, Network, read, transfer


def cell_gradient(network: Network, upstream: Tensor) -> Tensor:
    """Return d loss / d g (batch, L, S) for d loss / d transfer (batch, S, L)."""
    if network.decoupled:
        return _decoupled(network, upstream)
    levels: list[Level] = []
    forward = transfer(network, levels)
    y = levels.pop().y
    adjoint = read(network, y, upstream)
    if not network.voltage:
        forward = forward * network.end  # read-outs are currents; the nodes are at end x current
    # Voltages of the swept lines at the last cells, for each driver and for each driver's upstream.
    w = torch.cat((forward, adjoint), dim=2)
    found = []
    for i in reversed(range(network.g.shape[1])):
        found.append(_of_line(network, w, i))
        w = _one_up(network, levels[i], w)
    return torch.stack(found[::-1], dim=1)


def _of_line(network: Network, w: Tensor, i: int) -> Tensor:
    """Gradient of the cells of crossing line i, (batch, S), from the swept lines' voltages w."""
    across = network.ladders.inverse(i) @ (network.g[:, i, :, None] * w) - w
    forward, adjoint = across.tensor_split(2, dim=2)
    forward[:, :, i] += network.ladders.drive[:, i]
    return -(adjoint * forward).sum(2)


def _one_up(network: Network, before: Level, w: Tensor) -> Tensor:
    """Voltages of the swept lines one cell nearer to their start."""
    if not network.segment or not before.j.shape[2]:
        return w
    current = -(before.y @ w)
    current[:, :, : before.j.shape[2]] += before.j
    return w + network.segment * current


def _decoupled(network: Network, upstream: Tensor) -> Tensor:
    g, drive = network.g, network.ladders.drive
    found = []
    for i in range(g.shape[1]):
        own = upstream[:, :, i]
        through = (network.ladders.inverse(i) @ (g[:, i] * own)[:, :, None])[:, :, 0]
        found.append(drive[:, i] * (own - through))
    return torch.stack(found, dim=1)
