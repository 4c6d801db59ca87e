"""Running a model on the batches that a user has."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..errors import DataError
from ._progress import progress

Forward = Callable[[nn.Module, Any], Any]


def call(model: nn.Module, batch: Any) -> Any:
    """Run a model on a tensor, a packed sequence, keyword arguments, or a tuple of arguments."""
    if isinstance(batch, Tensor | PackedSequence):
        return model(batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple | list):
        try:
            inspect.signature(model.forward).bind(*batch)
        except TypeError as error:
            raise DataError(
                f"a batch is a {type(batch).__name__} of {len(batch)}, which the model's forward "
                f"does not take ({error}). If it holds inputs and labels, pass "
                "`forward=lambda model, batch: model(batch[0])`."
            ) from None
        return model(*batch)
    raise DataError(
        f"cannot run the model on a batch of type {type(batch).__name__}: use tensors, mappings or "
        "tuples, or pass `forward=lambda model, batch: ...`."
    )


def run(model: nn.Module, batches: Iterable[Any], forward: Forward | None, description: str) -> int:
    """Run a model over batches without gradients and return how many there were.

    Raises:
        DataError: there was none.
    """
    if isinstance(batches, Tensor):
        raise DataError("batches must be an iterable of batches: write [x] for a single batch x.")
    count, total = 0, len(batches) if hasattr(batches, "__len__") else None  # pyright: ignore
    with torch.no_grad():
        for batch in progress(batches, description, total):
            (forward or call)(model, batch)
            count += 1
    if not count:
        raise DataError(
            "there is no batch of data: `batches` is empty (or an iterator that was used up)."
        )
    return count
