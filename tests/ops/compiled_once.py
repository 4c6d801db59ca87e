"""Run by `test_kept.py` in processes of their own: drives cells, and tells what was compiled.

Arguments: a file with the formula `step`, and where to put states and counts.
"""

import importlib.util
import sys

import torch

from mho.ops import PulsedCells, integrate
from mho.ops._drivers import driver

if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("measured_step", sys.argv[1])
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cells = PulsedCells(*(torch.full((3, 5), v) for v in (0.0, -1.0, 1.0, 0.1, 0.1, 0.0, 0.0)))
    up = torch.arange(15, dtype=torch.int32).view(3, 5)
    integrate(module.step, cells, (0.0,), up, torch.zeros_like(up), (0, (1, 2)))
    stats = driver("counts", module.step, None, "C" * 9).stats
    taken, made = (sum(n.values()) for n in (stats.cache_hits, stats.cache_misses))
    torch.save((cells.state, taken, made), sys.argv[2])
