"""Settings of every test: one thread per process, no display, the same examples each time."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib

import torch
from hypothesis import settings

# Each pytest-xdist worker is a process: more than one thread each would fight over the cores.
torch.set_num_threads(1)

# A failure must be the same failure on the next run and on another, possibly slow, machine.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")
