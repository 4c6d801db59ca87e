"""The same task on many arguments, over the processes of joblib."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import joblib
import torch

from ..errors import RangeError
from ._progress import progress

T = TypeVar("T")


def pooled(
    task: Callable[..., T], calls: Sequence[tuple[Any, ...]], description: str, workers: int | None
) -> list[T]:
    """Return `task(*arguments)` for every call, in order, the same for any number of workers.

    Args:
        task: takes what it changes, such as a model, among its arguments.
        calls: the arguments.
        description: of the progress bar.
        workers: processes; None takes what the surrounding `joblib.parallel_config` says.

    Raises:
        RangeError: joblib would run threads, which would share one model and one generator.
    """
    here = (os.getpid(), threading.get_ident())
    threads = torch.get_num_threads()
    jobs = (joblib.delayed(_apart)(task, arguments, threads, here) for arguments in calls)
    # Workers outlive a call, and find modules where they were found when they were started: with
    # other paths there are other workers.
    parallel: Any = joblib.Parallel(
        n_jobs=workers, return_as="generator", initializer=_find_in, initargs=(tuple(sys.path),)
    )
    results = parallel(jobs)
    return list(progress(results, description, len(calls)))


def _find_in(paths: tuple[str, ...]) -> None:
    sys.path[:] = paths


def _apart(
    task: Callable[..., T], arguments: tuple[Any, ...], threads: int, parent: tuple[int, int]
) -> T:
    if os.getpid() != parent[0]:
        torch.set_num_threads(threads)  # the same threads, the same order of sums, the same scores
    elif threading.get_ident() != parent[1]:
        raise RangeError(
            "threads would share one model and one generator: choose a joblib backend of "
            "processes, such as loky."
        )
    return task(*arguments)
