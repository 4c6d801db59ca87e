"""The weight matrices of a model that are trained in memory, and the groups that hold them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from ..cells import Device, reach
from ..errors import ConversionError, LifecycleError, SpecError
from ..nn import Analog, Recorder, Site, converted
from ._state import State

Where = Callable[[str, nn.Module], bool]

MOMENTA = ("momentum", "nesterov", "weight_decay", "lambd", "maximize")
"""Options of torch's optimizers that change a gradient before it is applied, off if false."""


@dataclass
class Layer:
    """One weight matrix: where it is, what it sees, and its hidden state."""

    site: Site
    recorder: Recorder
    state: State
    written: tuple[int, Tensor] | None = None
    """Version of the Parameter after the last write, and what was written."""


def chosen(model: nn.Module, where: Where | None) -> list[Site]:
    """Return the weight matrices that a predicate of (module name, module) picks.

    Raises:
        LifecycleError: the model is not converted, or nothing is picked.
    """
    if where is not None and not callable(where):
        raise SpecError(
            f"`where` is a predicate such as mho.linear, got {where!r}; a name is written "
            f"mho.named({str(where)!r})."
        )
    found = converted(model)
    if where is None:
        return found
    names = {id(module): name for name, module in model.named_modules()}
    picked = [s for s in found if where(names[id(s.module)], s.module)]
    if not picked:
        raise LifecycleError("`where` picks none of the model's analog layers: nothing to attach.")
    return picked


def check_optimizer(optimizer: Any) -> Optimizer:
    """Return the torch optimizer inside of wrappers, if it is one that makes single steps."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner  # Accelerate's and others' wrappers
    if not isinstance(optimizer, Optimizer):
        raise SpecError(
            f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}."
        )
    if isinstance(optimizer, LBFGS):
        raise SpecError(
            "LBFGS tries several weights per step and takes some back; pulses cannot be taken "
            "back. Use SGD, or any optimizer that makes one step per gradient."
        )
    return optimizer


def groups_of(optimizer: Optimizer) -> dict[int, tuple[int, dict[str, Any]]]:
    """Return number and options of the group that holds each Parameter, by its id."""
    return {
        id(parameter): (number, group)
        for number, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
    }


def learning_rate(group: tuple[int, dict[str, Any]], name: str) -> float:
    """Return the learning rate of a group, if nothing else is asked for that pulses cannot do.

    Raises:
        SpecError: the group has momentum, weight decay or the like.
    """
    number, options = group
    for key in MOMENTA:
        value = options.get(key)
        if value:
            raise SpecError(
                f"{name} is in group {number} of the optimizer, which has {key}={value}. Pulses "
                "are made from single gradients, and decay is a property of cells: put the analog "
                f"weights into a group of their own with {key}={type(value)(0)!r}."
            )
    return float(options["lr"])


def check_sites(model: nn.Module, found: list[Site]) -> None:
    """Refuse what cannot be trained in memory.

    Raises:
        LifecycleError: a layer is programmed, adapted, or attached already, or not on one device.
        ConversionError: a weight is also used elsewhere, or a mapping has several slices.
    """
    for site in found:
        crossbar, mapping = site.crossbar, site.crossbar.hardware.mapping
        if crossbar.recorder is not None:
            raise LifecycleError(
                f"{site.name} is attached already: call `remove()` of what mho.attach returned."
            )
        if crossbar.is_programmed:
            raise LifecycleError(
                f"{site.name} is programmed, so it computes with a chip instance whose cells no "
                "pulses reach: call mho.erase(model) first."
            )
        if crossbar.modifier is not None or crossbar.clip_bound is not None:
            raise LifecycleError(
                f"{site.name} is adapted, which disturbs or clips a digital weight: call "
                "`remove()` of what mho.adapt returned, and mho.restore if clips were learned."
            )
        if not mapping.exact or len(mapping.significance) > 1:
            raise ConversionError(
                f"{site.name}: the mapping {mapping.kind!r} makes several or rounded digital "  # pyright: ignore
                "slices of a weight, which pulses do not reach; use differential, single or signed."
            )
        if site.weight.is_meta or hasattr(site.weight, "full_tensor"):
            raise LifecycleError(
                f"{site.name} is on the meta device or sharded over processes: attach to a whole "
                "model that has its weights."
            )
    _check_uses(model, found)


def _check_uses(model: nn.Module, found: list[Site]) -> None:
    """A weight may be used by several layers only if they share its arrays."""
    mine = {id(site.weight): site for site in found}
    held: set[tuple[int, str]] = set()
    for module in model.modules():
        if isinstance(module, Analog):
            for path, crossbar in module.analog.by_path():
                owner, _, key = path.rpartition(".")
                weight = module.get_parameter(path)
                if id(weight) in mine and crossbar is mine[id(weight)].crossbar:
                    held.add((id(module.get_submodule(owner)), key))
    for name, module in model.named_modules():
        for key, parameter in module._parameters.items():
            if id(parameter) in mine and (id(module), key) not in held:
                raise ConversionError(
                    f"{mine[id(parameter)].name} is tied to {name}.{key}, which is not on the same "
                    "arrays: its gradients would bypass them. Untie them, or exclude the layer "
                    "with `where`."
                )


def scale_for(weight: Tensor, device: Device | None, fill: float) -> float:
    """Return the weight of a relative weight of 1, so that the largest |W| is at fill x reach."""
    largest = float(weight.detach().abs().max())
    return largest / (fill * (1.0 if device is None else reach(device))) or 1.0


def visible(layer: Layer, weight: Tensor) -> Tensor:
    """Return a relative weight as the Parameter has it."""
    return layer.site.shaped(weight * layer.state.matrix.scale)


@torch.no_grad()
def write(layer: Layer, weight: Tensor) -> None:
    """Put scale times a relative weight into the Parameter, in place."""
    parameter = layer.site.weight
    parameter.copy_(visible(layer, weight))
    layer.written = parameter._version, weight


def check_unchanged(layer: Layer) -> None:
    """Refuse a weight that somebody else has written: arrays do not follow.

    Raises:
        LifecycleError: the Parameter is not what the arrays hold.
    """
    parameter, name = layer.site.weight, layer.site.name
    shared = layer.state.parallel is not None and parameter.grad is not None
    if shared and not bool(parameter.grad.any()):  # pyright: ignore[reportOptionalMemberAccess]
        parameter.grad = None  # torch averages zeros where there is no gradient
    if parameter.grad is not None:
        raise LifecycleError(
            f"{name} has a digital gradient, which no pulse can follow: it came from a backward "
            "pass in eval mode, with programmed arrays, or past the layer. Call model.train(), or "
            "set the gradient to None."
        )
    if parameter.device != layer.state.matrix.place:
        raise LifecycleError(
            f"{name} was moved to {parameter.device}, and its arrays are on "
            f"{layer.state.matrix.place}: move the model first, then attach."
        )
    assert layer.written is not None
    version, weight = layer.written
    if parameter._version == version:
        return
    if not torch.equal(parameter.detach(), visible(layer, weight).to(parameter)):
        raise LifecycleError(
            f"{name} was changed since the last step, and its arrays were not: to train other "
            "weights, call `remove()`, load them, and attach again; to go on with a training, use "
            "`load_state_dict` of what mho.attach returned."
        )
    layer.written = parameter._version, weight
