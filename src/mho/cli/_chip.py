"""What one chip instance holds: weights as wanted, conductances as programmed, errors over time."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import mho


@dataclass(frozen=True)
class Chip:
    """All weights of a model on one chip instance, relative to the maximum of their column.

    Attributes:
        targets: the digital weights.
        errors: by time: weights of the arrays, digitally corrected, minus the targets.
        conductances: of every device right after programming, in siemens.
    """

    targets: NDArray[np.float32]
    errors: dict[str, NDArray[np.float32]]
    conductances: NDArray[np.float32]


@torch.no_grad()
def look_at(model: nn.Module, seed: int, *times: str) -> Chip:
    """Program a chip instance and look at its arrays at some times; it keeps the last of them.

    The mapping must hold each weight in one column of one array.
    """
    mho.program(model, seed=seed)
    sites = list(mho.sites(model))
    scales = [site.crossbar.column_scale(site.matrix).T for site in sites]  # (out, 1)
    devices = [buffer for site in sites if (buffer := site.crossbar.programmed) is not None]
    errors = {}
    for time in times:
        mho.at(model, time)
        mho.compensate(model, "global")
        parts = []
        for site, scale in zip(sites, scales, strict=True):
            held, gain = site.crossbar.operand(site.matrix).weight, site.crossbar.gain
            held = held if gain is None else held * gain[:, None]
            parts.append((held - site.matrix) / scale)
        errors[time] = _pooled(parts)
    targets = _pooled([site.matrix / scale for site, scale in zip(sites, scales, strict=True)])
    return Chip(targets, errors, _pooled(devices))


def _pooled(parts: list[torch.Tensor]) -> NDArray[np.float32]:
    return torch.cat([part.flatten() for part in parts]).numpy()
