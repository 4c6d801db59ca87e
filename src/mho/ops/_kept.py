"""Compiled kernels that are kept on disk, and are compiled anew when any part of them changes.

Numba's own cache knows a kernel by its file and name, and notices changes of that file only. Here
the name also has a digest of everything that a kernel is compiled from: the files in `SOURCES`,
and the formulas it is compiled for. Files beside the package are used where it can be written to,
else those in the user's cache folder (or in NUMBA_CACHE_DIR), and none where that cannot either.
Processes that compile the same kernel at the same time write the same file, each in one piece.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit

from ._formula import Formula, fingerprint

SOURCES = (
    "_converter_kernels", "_drivers", "_formula", "_kept", "_kernels", "_normal_kernels",
    "_patch_kernels", "_philox", "_pulse_lanes", "_sub_steps", "_train_plan", "_vector_math",
    "_weight_kernels", "_words",
)  # fmt: skip
"""Files of this package that kernels are compiled from."""
DIGITS = 16


@cache
def _files() -> bytes:
    whole = hashlib.sha256()
    for name in SOURCES:
        whole.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return whole.digest()


def digest(*formulas: Formula) -> str:
    """Return hexadecimal digits that differ where compiled kernels may."""
    whole = hashlib.sha256(_files())
    for formula in formulas:
        whole.update(fingerprint(formula).encode())
    return whole.hexdigest()[:DIGITS]


def kept(function: Callable[..., Any], key: str = "", stem: str = "", **options: Any) -> Any:
    """Compile a kernel on first use, or take it from disk.

    Args:
        function: of a module; what its globals refer to is in `key`.
        key: a digest; by default that of the package.
        stem: the kernel's own name; by default the function's.
        options: of numba.
    """
    assert isinstance(function, FunctionType)
    assert function.__closure__ is None
    stem, key = stem or function.__name__, key or digest()
    # Division by zero is what it is for torch; looking for it keeps loops from being vectors.
    options = {"nogil": True, "error_model": "numpy", **options}
    function.__qualname__ = f"{stem}_{key}"
    try:
        compiled: Any = njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder to write to
        return njit(**options)(function)
    module = Path(function.__code__.co_filename).stem
    _forget_older(Path(compiled.stats.cache_path), f"{module}.{stem}_", key)
    return compiled


def specialized(
    function: Callable[..., Any], key: str, stem: str, names: dict[str, Any], **options: Any
) -> Any:
    """Return `kept` of a function some of whose globals are given; see there."""
    assert isinstance(function, FunctionType)
    same = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
    same.__module__ = function.__module__
    return kept(same, key, stem, **options)


def _forget_older(folder: Path, start: str, key: str) -> None:
    """Delete what an earlier text of the same kernel has left, if there is nothing of this one."""
    files = list(folder.glob(f"{start}{'?' * DIGITS}-*.nb?"))
    if not any(file.name.startswith(start + key) for file in files):
        for file in files:
            file.unlink(missing_ok=True)
