"""Where torch's operators pass over memory many times, and a kernel of ours once.

The kernels take what people train and deploy with on a CPU: single precision, in eager mode. For
everything else (other devices and precisions, compilers, function transforms) the callers have the
same formula in torch's operators.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._threads import over_rows

SMALL = 1024  # signals below which the call of a kernel takes longer than torch's operators
SHARE = 1 << 17  # signals of a thread at least
NOTHING = np.zeros(0, np.float32)
PLAIN = (Tensor, torch.nn.Parameter)


class Laid(NamedTuple):
    """A parameter as a flat array, and its steps along the axes of the signals."""

    values: np.ndarray
    steps: tuple[int, ...] = (0, 0, 0)


ABSENT = Laid(NOTHING)


def in_memory(x: Tensor, *others: Tensor | None, passes: int = 1) -> bool:
    """Whether signals and parameters are numbers that kernels can work on, and enough of them.

    What compilers, function transforms and tensor subclasses see of numbers is not.

    Args:
        x: the signals.
        others: their parameters.
        passes: how many times more operators than usual a kernel does the work of.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False  # first of all: a compiler would take a question for a condition
    if x.numel() * passes < SMALL or not x.is_contiguous():
        return False
    try:
        for t in (x, *others):
            if t is not None and not _is_plain(t):
                return False
    except RuntimeError:
        return False
    return True


def _is_plain(t: Tensor) -> bool:
    return type(t) in PLAIN and t.is_cpu and t.dtype is torch.float32 and t.data_ptr() != 0


def flat(x: Tensor) -> np.ndarray:
    """View a contiguous tensor as a flat array."""
    return x.detach().numpy().reshape(-1)


def borrowed(x: Tensor) -> np.ndarray:
    """View a tensor that may share a Parameter's memory.

    `numpy` would for ever forbid to resize that memory, which sharding does at every step.
    """
    return np.from_dlpack(x.detach())


def laid(x: Tensor, *others: Tensor | None) -> tuple[tuple[int, ...], list[Laid]] | None:
    """See signals as (a, m, l) such that every parameter steps evenly along each of these axes.

    Returns:
        The sizes of the axes, and the parameters; None if there are no such axes, or a parameter
        steps by more than 1 along the last.
    """
    found = _axes(x.shape, tuple([None if t is None else t.shape for t in others]))
    if found is None:
        return None
    sizes, steps = found
    return sizes, [
        ABSENT if t is None else Laid(_values(t), step)
        for t, step in zip(others, steps, strict=True)
    ]


def _values(t: Tensor) -> np.ndarray:
    return (borrowed(t) if t.requires_grad else t.numpy()).ravel()


@lru_cache(maxsize=1024)
def _axes(
    signals: torch.Size, parameters: tuple[torch.Size | None, ...]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]] | None:
    """Merge the axes of signals as far as all (contiguous) parameters go through them alike."""
    strides = [_broadcast_steps(shape, len(signals)) for shape in parameters]
    merged: list[list[int]] = []  # size of an axis, then the steps of each parameter
    for axis, size in enumerate(signals):
        if size == 1:
            continue
        steps = [stride[axis] for stride in strides]
        if merged and all(a == b * size for a, b in zip(merged[-1][1:], steps, strict=True)):
            merged[-1] = [merged[-1][0] * size, *steps]
        else:
            merged.append([size, *steps])
    if len(merged) > 3 or (merged and max(merged[-1][1:]) > 1):
        return None
    merged = [[1] + [0] * len(strides)] * (3 - len(merged)) + merged
    sizes, *steps = zip(*merged, strict=True)
    return sizes, steps


def _broadcast_steps(shape: torch.Size | None, dims: int) -> list[int]:
    """Return the step of a contiguous parameter along each axis of the signals."""
    steps, step = [], 1
    for size in reversed(shape or ()):
        steps.append(0 if size == 1 else step)
        step *= size
    return [0] * (dims - len(steps)) + steps[::-1]


def over_chunks(
    kernel: Callable[..., None], signals: int, *values: Any, draws: bool = False
) -> None:
    """Run a kernel on all chunks of its signals; one that draws noise for each has more to do."""
    from ._normal_kernels import CHUNK

    share = SHARE // 2 if draws else SHARE
    over_rows(kernel, -(-signals // CHUNK), *values, grain=share // CHUNK)


def over_lines(kernel: Callable[..., None], lines: np.ndarray, *values: Any) -> None:
    """Run a kernel on all lines of its signals (n, k)."""
    over_rows(kernel, len(lines), lines, *values, grain=-(-SHARE // lines.shape[1]))


def random_key() -> tuple[int, int]:
    """Draw the key of a kernel's numbers from torch's generator."""
    first, second = torch.randint(2**32, (2,)).tolist()
    return first, second
