"""Speed and memory of mho against plain PyTorch and, where installed, against its peers.

Run `python -m benchmarks` from the root of the repository. Every contender gets two threads.
"""

import os

THREADS = 2

# Read by the BLAS that aihwkit links when it is loaded, so this has to precede every import of it.
os.environ["OPENBLAS_NUM_THREADS"] = str(THREADS)
# Otherwise torch's profiler writes a line to the terminal whenever it starts and stops.
os.environ["KINETO_LOG_LEVEL"] = "99"
