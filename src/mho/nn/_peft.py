"""Adapters of PEFT, which is never imported here: they are digital, and their base is analog."""

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

WRAPPED = ".base_layer"
ROOT = "base_model.model."
UNNAMED = ([], ["weight"], ["bias"])
"""What follows the matrix of an adapter, such as `lora_A`, if its name was left out."""


def tuner_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that PEFT has put around others, by name."""
    peft = sys.modules.get("peft.tuners.tuners_utils")
    if peft is None:
        return {}
    return {name: m for name, m in model.named_modules() if isinstance(m, peft.BaseTunerLayer)}


def adapter_parts(model: nn.Module) -> set[int]:
    """Return the identities of all modules that belong to adapters rather than to their base."""
    parts: set[int] = set()
    for layer in tuner_layers(model).values():
        for name, child in layer.named_children():
            if f".{name}" != WRAPPED:
                parts |= {id(module) for module in child.modules()}
    return parts


def plain_name(name: str, tuners: dict[str, nn.Module]) -> str:
    """Return the name of a module in the model as it was before PEFT put layers around others."""
    outer, mark, inner = name.partition(WRAPPED)
    if mark and outer in tuners:
        name = outer + inner
    return name.removeprefix(ROOT) if tuners else name


def misfits(model: nn.Module, state_dict: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield (weight, why it belongs to an adapter of another base) of a state dict.

    Weights of adapters that the model does not have are none of its business.
    """
    tuners = tuner_layers(model)
    if not tuners:
        return
    adapters = {name for layer in tuners.values() for name in _adapters(layer)}
    own = dict(model.named_parameters())
    for key, value in state_dict.items():
        outer, mark, inner = key.partition(".lora_")
        if not mark or not key.startswith(prefix):
            continue
        adapter = inner.split(".")[1:2]
        here = own.get(key.removeprefix(prefix))
        # PEFT writes the name of the adapter into the keys of those layers that are here.
        if here is None and (adapter in UNNAMED or adapters.issuperset(adapter)):
            yield outer, "an adapter for this layer belongs to another base: here is no such layer."
        elif here is not None and here.shape != value.shape:
            shapes = f"{tuple(value.shape)} in the adapter, {tuple(here.shape)} here"
            yield key, f"the adapter belongs to a base with layers of other shapes: {shapes}."


def _adapters(layer: nn.Module) -> Iterator[str]:
    """Yield the names of the adapters of a layer."""
    for child in layer.children():
        if isinstance(child, nn.ModuleDict | nn.ParameterDict):
            yield from child.keys()
