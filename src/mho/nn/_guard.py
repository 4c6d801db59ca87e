"""A converted model refuses a foreign checkpoint as a whole, before anything is copied."""

import warnings
from typing import Any

from torch import nn

from ._checkpoint import keeps_calibration, listed, problems, refuse
from ._layer import Analog
from ._peft import misfits


def guard(model: nn.Module) -> None:
    """Check all analog layers of a model before any of them is loaded."""
    if not _ours(model):
        model.register_load_state_dict_pre_hook(_check)


def unguard(model: nn.Module) -> None:
    """Undo `guard` for a model and all inside of it."""
    for module in model.modules():
        for key in _ours(module):
            del module._load_state_dict_pre_hooks[key]


def _ours(model: nn.Module) -> list[int]:
    hooks = model._load_state_dict_pre_hooks.items()
    return [key for key, wrapped in hooks if getattr(wrapped, "hook", None) is _check]


def _check(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    found, kept = [], []
    for name, layer in module.named_modules(remove_duplicate=False):
        if isinstance(layer, Analog):
            inside = f"{prefix}{name}." if name else prefix
            found += problems(layer, state_dict, inside)
            kept += [inside + path for path in keeps_calibration(layer, state_dict, inside)]
    found += misfits(module, state_dict, prefix)
    refuse(found)
    if kept:
        warnings.warn(
            f"the checkpoint has no calibration, so that of the model is kept for {listed(kept)}: "
            "call mho.calibrate again if the new weights change the layers' inputs.",
            stacklevel=6,
        )
