"""Run the benchmarks and print their tables."""

import argparse
import os
import sys
from importlib.util import find_spec

import torch

from . import THREADS, parts, peers, report, wires

PARTS = {
    "lenet": parts.lenet,
    "linear": parts.linear,
    "training": parts.training,
    "in-memory": parts.in_memory_training,
    "memory": parts.footprint,
    "wires": wires.tables,
}


def main() -> None:
    """Print every part that was asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs per ratio (default 15)")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown or options.pairs < 1:
        parser.error(f"the parts are {', '.join(PARTS)}, and --pairs is at least 1")
    if find_spec("mho") is None:
        sys.exit("mho is not installed in this environment: run `pip install -e .` first")
    torch.set_num_threads(THREADS)
    out = report.console()
    out.print(report.environment())
    if os.getloadavg()[0] > 0.5:
        out.print("Something else is running here; the ratios will scatter.", style="yellow")
    for part in options.parts or PARTS:
        for table in PARTS[part](options.pairs):
            out.print(table)
    if not peers.installed():
        out.print("No peer is installed here: `make bench-peers` measures them in the same run.")


if __name__ == "__main__":
    main()
