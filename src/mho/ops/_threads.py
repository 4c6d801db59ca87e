"""A kernel's rows shared between threads: torch's own where that is possible.

Torch's OpenMP threads wait for their next work by spinning for milliseconds. Threads of ours beside
them would get half of a core each; a kernel on torch's team begins at once.
"""

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def over_rows(kernel: Callable[..., None], rows: int, *values: Any, grain: int = 1) -> None:
    """Run a kernel on all rows, shared between as many threads as torch uses.

    Args:
        kernel: gets the first row, the one after the last, and the values; it must let go of the
            interpreter's lock.
        rows: number of rows.
        values: further arguments.
        grain: rows of each thread at least, below which it is not worth waking.
    """
    threads = min(torch.get_num_threads(), rows // grain)
    if threads <= 1:
        kernel(0, rows, *values)
        return
    team = _team()
    if team is None:
        _on_pool(kernel, rows, threads, values)
    else:
        _on_team(team, kernel, rows, threads, values)


def _on_team(
    team: ctypes.CDLL, kernel: Callable[..., None], rows: int, threads: int, values: tuple[Any, ...]
) -> None:
    kernel(0, 0, *values)  # compiles it, which the small stacks of a team have no room for
    failures: list[BaseException] = []

    def part(_: object) -> None:
        try:
            # The team may be smaller than asked for.
            k, count = team.omp_get_thread_num(), team.omp_get_num_threads()
            kernel(rows * k // count, rows * (k + 1) // count, *values)
        except BaseException as failure:
            failures.append(failure)

    team.GOMP_parallel(_CALLBACK(part), None, threads, 0)
    if failures:
        raise failures[0]


def _on_pool(kernel: Callable[..., None], rows: int, threads: int, values: tuple[Any, ...]) -> None:
    edges = [rows * k // threads for k in range(threads + 1)]
    parts = [
        _pool(threads - 1).submit(kernel, start, stop, *values)
        for start, stop in itertools.pairwise(edges[1:])
    ]
    kernel(0, edges[1], *values)
    for part in parts:
        part.result()


@cache
def _team() -> ctypes.CDLL | None:
    """Return torch's OpenMP, if it is one that C code can hand work to; otherwise None.

    `GOMP_parallel` is what compilers make of `#pragma omp parallel`: libgomp has it, and so have
    Intel's and LLVM's libraries on Linux.
    """
    for name in ("libtorch_global_deps.so", "libtorch_cpu.so"):
        path = Path(torch.__file__).parent / "lib" / name
        if not path.exists():
            continue
        try:
            library = ctypes.CDLL(str(path))
            library.GOMP_parallel.argtypes = [
                _CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint,
            ]  # fmt: skip
            library.GOMP_parallel.restype = None
            library.omp_get_num_threads.restype = ctypes.c_int
            library.omp_get_thread_num.restype = ctypes.c_int
        except (OSError, AttributeError):
            continue
        return library
    return None


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="mho")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
