"""One formula, three compilers: plain arithmetic that torch, numba and Triton run alike.

A formula is a module-level function of positional arguments. Its body is arithmetic, comparisons,
local names and calls of the bare words below; no attributes, loops, `if`, closures or globals. Its
twin for a backend shares the code object and gets the backend's words as globals.

    where(condition, a, b)  minimum(a, b)  maximum(a, b)
    exp(x)  log(x)  sqrt(x)  cos(x)  abs_(x)  floor(x)
    lut(table, position)    linear interpolation in a 1-D table, position in [0, len(table) - 1]
"""

import hashlib
import math
from collections.abc import Callable
from functools import cache
from types import CodeType, FunctionType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Formula = Callable[..., Any]
Backend = Literal["torch", "numba", "triton"]


def twin(formula: Formula, backend: Backend) -> Formula:
    """Return the formula as a backend runs it; asked twice, it is the very same object.

    Raises:
        ValueError: the formula closes over variables or uses attributes.
    """
    return _twin(formula, backend)


def fingerprint(formula: Formula) -> str:
    """Return hexadecimal digits that differ where formulas do; lines and files do not matter."""
    code: CodeType = formula.__code__
    parts = (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_argcount)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@cache
def _twin(formula: Any, backend: Backend) -> Formula:
    code: CodeType = formula.__code__
    words = _WORDS[backend]()
    unknown = sorted(set(code.co_names) - words.keys())
    if code.co_freevars or unknown:
        strange = ", ".join((*code.co_freevars, *unknown))
        raise ValueError(
            f"the formula {formula.__qualname__} uses {strange}; only its arguments and the words "
            f"{', '.join(sorted(_torch_words()))} are allowed"
        )
    import builtins

    names = {**words, "__builtins__": builtins, "__name__": formula.__module__}
    same = FunctionType(code, names, formula.__name__)
    same.__doc__ = formula.__doc__
    if backend == "numba":
        import numba

        # What is compiled may be kept on disk: other processes look for its module, and must not
        # take two formulas of one name for the same.
        same.__module__ = names["__name__"] = __name__
        same.__qualname__ = f"{formula.__name__}_{fingerprint(formula)}"
        return numba.njit(same, error_model="numpy")
    if backend == "triton":
        import triton

        names["tl"] = triton.language
        same.__module__, same.__qualname__ = formula.__module__, formula.__qualname__
        return triton.jit(same)
    return same


def word_of(backend: Backend, name: str) -> Formula:
    """Return what a bare word means to a backend."""
    return _WORDS[backend]()[name]


def _torch_words() -> dict[str, Any]:
    def of_tensors(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *values: function(*(torch.as_tensor(value) for value in values))

    return {
        "where": lambda condition, a, b: torch.where(torch.as_tensor(condition), a, b),
        "exp": of_tensors(torch.exp),
        "log": of_tensors(torch.log),
        "sqrt": of_tensors(torch.sqrt),
        "cos": of_tensors(torch.cos),
        "abs_": abs,
        "floor": of_tensors(torch.floor),
        "minimum": of_tensors(torch.minimum),
        "maximum": of_tensors(torch.maximum),
        "lut": _interpolated,
    }


def _interpolated(table: Any, position: Tensor) -> Tensor:
    values = torch.as_tensor(table, dtype=position.dtype, device=position.device)
    left = position.detach().floor().clamp(0, len(values) - 2).long()
    share = position - left
    return values[left] * (1 - share) + values[left + 1] * share


@cache
def _numba_words() -> dict[str, Any]:
    import numba

    @numba.njit(inline="always")
    def where(condition, a, b):
        return a if condition else b

    @numba.njit(inline="always")
    def minimum(a, b):
        return a if a < b else b

    @numba.njit(inline="always")
    def maximum(a, b):
        return a if a > b else b

    @numba.njit
    def lut(table, position):
        left = min(max(int(position), 0), len(table) - 2)
        share = position - left
        return table[left] * (1 - share) + table[left + 1] * share

    return {
        "where": where,
        "exp": math.exp,
        "log": math.log,
        "sqrt": np.sqrt,
        "cos": math.cos,
        "abs_": abs,
        "floor": np.floor,
        "minimum": minimum,
        "maximum": maximum,
        "lut": lut,
    }


@cache
def _triton_words() -> dict[str, Any]:
    from . import _triton_words as words

    return words.WORDS


_WORDS: dict[Backend, Callable[[], dict[str, Any]]] = {
    "torch": _torch_words,
    "numba": _numba_words,
    "triton": _triton_words,
}
