"""The state of arrays in the files of a Transformers checkpoint."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import (  # pyright: ignore[reportMissingImports]
    revert_weight_conversion,
)

from ..errors import CheckpointError
from ..tiles import Hardware
from ._checkpoint import listed
from ._layer import Analog

MARK = ".analog."


def load_arrays(model: Any, files: list[str], layers: dict[str, Hardware]) -> None:
    """Load calibration, chips and corrections from the files that the weights came from.

    Args:
        model: a converted model with its weights.
        files: the files.
        layers: every layer that the config of the checkpoint names.

    Raises:
        CheckpointError: a file has state for a layer that is not there, or that does not fit it.
    """
    with ExitStack() as stack:
        stored: dict[str, Callable[[], Tensor]] = {}
        for file in files:
            stored |= _open(stack, file)
        places, lost = _places(model), []
        found: dict[Analog, dict[str, Callable[[], Tensor]]] = {}
        for key, get in stored.items():
            name, _, inner = key.partition(MARK)
            layer = next((places[n] for n in _variants(name, model) if n in places), None)
            if layer is not None:
                found.setdefault(layer, {})[MARK[1:] + inner] = get
            elif name not in layers:  # a model without the head reports the head's weight instead
                lost.append(key)
        if lost:
            raise CheckpointError(
                f"the checkpoint has arrays for {listed(lost)}, where this model has no analog "
                "layer. Was it saved from another model? If Transformers renames the weights of "
                "this architecture, save with save_pretrained(..., save_original_format=False)."
            )
        for layer, readers in found.items():  # one at a time: all of them may not fit twice
            state = {key: get() for key, get in readers.items()}
            unexpected = layer.load_state_dict(state, strict=False).unexpected_keys
            if unexpected:
                raise CheckpointError(f"the checkpoint has unknown state: {listed(unexpected)}.")


def _places(model: Any) -> dict[str, Analog]:
    """Return every analog layer, by its name and by that which Transformers gives it in files."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Analog)}
    marks = {f"{name}{MARK}record": torch.empty(0) for name in layers}
    owners = dict(zip(map(id, marks.values()), layers.values(), strict=True))
    renamed = revert_weight_conversion(model, dict(marks))
    # A mark is another tensor now where weights are split or joined in files, not only renamed.
    found = {key: owners[id(mark)] for key, mark in renamed.items() if id(mark) in owners}
    return {key.partition(MARK)[0]: layer for key, layer in found.items()} | layers


def _variants(name: str, model: Any) -> Iterator[str]:
    """Yield a layer's name as it is, and as it is in the model with or without a head."""
    prefix = f"{model.base_model_prefix}."
    yield name
    yield name.removeprefix(prefix)
    yield prefix + name


def _open(stack: ExitStack, file: str) -> dict[str, Callable[[], Tensor]]:
    """Return a function for each tensor of the arrays in a file that reads it."""
    if Path(file).suffix == ".safetensors":
        from safetensors import safe_open

        handle = stack.enter_context(safe_open(file, "pt"))
        keys = [key for key in handle.keys() if MARK in key]  # noqa: SIM118
        return {key: lambda key=key: handle.get_tensor(key) for key in keys}
    state = torch.load(file, weights_only=True, mmap=True)
    return {key: lambda key=key: state[key] for key in state if MARK in key}
