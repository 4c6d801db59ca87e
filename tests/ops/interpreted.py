"""Run by `test_triton_kernels.py` in its own process: Triton reads TRITON_INTERPRET on import.

Arguments: a file of cases, and where to put the states and counts after their pulses.
"""

import sys

import torch

from mho.cells import PulsedDevice
from mho.ops import _triton_kernels as kernels

if __name__ == "__main__":
    results = []
    for given in torch.load(sys.argv[1], weights_only=False):
        device, cells, trains, noise = given
        assert isinstance(device, PulsedDevice)
        up = torch.zeros(cells.state.shape, dtype=torch.int32)
        down = torch.zeros_like(up)
        kind = type(device)
        kernels.pulse(kind.formula, cells, device.constants, trains, noise, up, down, kind.landing)
        results.append((cells.state, up, down))
    torch.save(results, sys.argv[2])
