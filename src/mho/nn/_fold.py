"""Folding of batch norm into the layer before it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import fusion
from torch.nn.utils.parametrize import is_parametrized

from ..errors import ConversionError, LifecycleError
from ..spec import render_table
from ._layer import Analog

FOLDABLE = (nn.Linear, _ConvNd)
APART = "it does not directly follow a linear layer or a convolution that is used once"


@dataclass(frozen=True)
class Folding:
    """What `mho.fold_batch_norm` did; prints as a table.

    Attributes:
        folded: (layer, batch norm) by name.
        left: why each other batch norm stays, by name.
    """

    folded: tuple[tuple[str, str], ...]
    left: dict[str, str]

    def __str__(self) -> str:
        rows = [(norm, f"folded into {layer}") for layer, norm in self.folded]
        rows += [(norm, f"stays: {reason}") for norm, reason in self.left.items()]
        return render_table(f"{len(self.folded)} batch norms folded", ("batch norm", "note"), rows)


def fold_batch_norm(model: nn.Module, *, pairs: Iterable[tuple[str, str]] | None = None) -> Folding:
    """Fold batch norms into the weights and biases of the layers before them, in place.

    With frozen statistics a batch norm is a factor and an offset for each channel,

        W' = gamma / sqrt(var + eps) W,   b' = gamma / sqrt(var + eps) (b - mean) + beta

    so that the arrays hold W' and no batch norm is left to compute: `nn.Identity` takes its place.
    A bias is added where the layer had none. Layers may be digital or analog (not programmed).

    Without `pairs`, the order of layers comes from a symbolic trace of the model, and a batch norm
    is folded where it directly follows a linear layer or a convolution whose output nothing else
    uses. The output of a linear layer is taken to be (batch, features); a batch norm over other
    dimensions of it is none to fold, and must not be named. A batch norm that cannot be folded
    stays as it is, and the result says why.

    Args:
        model: a model in eval mode.
        pairs: names (layer, batch norm) instead of the trace; anything wrong with one is an error.

    Raises:
        ConversionError: the model cannot be traced, or a pair or the only batch norms cannot be
            folded. Nothing was changed then.
        LifecycleError: the model is in training mode, or a layer is programmed.
    """
    norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
    if not norms:
        raise ConversionError("the model has no batch norm to fold.")
    found = list(_traced(model) if pairs is None else pairs)
    modules, shared = dict(model.named_modules(remove_duplicate=False)), _shared(model)
    left = dict.fromkeys(norms, "not named in `pairs`" if pairs is not None else APART)
    folded = []
    for layer, norm in found:
        reason = _obstacle(modules.get(layer), modules.get(norm), shared)
        if reason is None:
            folded.append((layer, norm))
            left.pop(norm, None)
        elif pairs is not None:
            raise ConversionError(f"cannot fold {norm!r} into {layer!r}: {reason}.")
        else:
            left[norm] = reason
    _refuse(folded, left, modules)
    for layer, norm in folded:
        _fold(modules[layer], modules[norm])
        model.set_submodule(norm, nn.Identity())
    return Folding(tuple(folded), left)


class _Tracer(fx.Tracer):
    """A trace that looks into neither the layers nor the batch norms."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a call of the module is one step of the trace."""
        return isinstance(m, (*FOLDABLE, Analog, _BatchNorm)) or super().is_leaf_module(
            m, module_qualified_name
        )


def _traced(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield (layer, batch norm) where the trace has one directly after the other, both once."""
    try:
        nodes = list(_Tracer().trace(model).nodes)
    except Exception as error:  # whatever the forward of a user's model raises on a proxy
        raise ConversionError(
            f"the forward of {type(model).__name__} cannot be traced ({error}): name the pairs "
            "yourself, pairs=[('conv1', 'bn1'), ...]."
        ) from error
    calls = Counter(id(_module(model, node)) for node in nodes if node.op == "call_module")
    for node in nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or not _is(model, node, _BatchNorm):
            continue
        once = all(calls[id(_module(model, each))] == 1 for each in (before, node))
        if _is(model, before, FOLDABLE) and len(before.users) == 1 and once:
            yield str(before.target), str(node.target)


def _module(model: nn.Module, node: fx.Node) -> Any:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is(model: nn.Module, node: fx.Node, kind: Any) -> bool:
    return isinstance(_module(model, node), kind)


def _shared(model: nn.Module) -> set[int]:
    """Return the ids of modules and Parameters that have more than one name."""
    names = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    names.update(id(value) for _, value in model.named_parameters(remove_duplicate=False))
    return {key for key, count in names.items() if count > 1}


def _obstacle(layer: Any, norm: Any, shared: set[int]) -> str | None:
    """Return why a batch norm cannot be folded into a layer, or None."""
    if not isinstance(layer, FOLDABLE):
        return f"{_kind(layer)} is neither a linear layer nor a convolution"
    if not isinstance(norm, _BatchNorm):
        return f"{_kind(norm)} is not a batch norm"
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics, so it has no fixed factor"
    if _channels(layer) != norm.num_features:
        return f"it has {norm.num_features} channels, the layer {_channels(layer)}"
    if is_parametrized(layer) or is_parametrized(norm):
        return "the weights are re-parametrized: remove the parametrizations first"
    if {id(each) for each in (layer, norm, layer.weight, layer.bias)} & shared:
        return "the layer, its weights or the batch norm have a second name and use"
    if norm._forward_hooks or norm._forward_pre_hooks:
        return "it has forward hooks, which would be lost"
    crossbar = layer.analog["weight"] if isinstance(layer, Analog) else None
    if crossbar is not None and _bound_to_weights(crossbar):
        return "the analog layer is calibrated or adapted to its present weights: fold before that"
    return None


def _kind(module: Any) -> str:
    return "a name that is not in the model" if module is None else type(module).__name__


def _bound_to_weights(crossbar: Any) -> bool:
    return any(
        getattr(crossbar, key, None) is not None
        for key in ("output_bound", "gain", "offset", "clip_bound", "output_scale")
    )


def _refuse(folded: list[tuple[str, str]], left: dict[str, str], modules: dict[str, Any]) -> None:
    """Raise if nothing can be folded, or if something is not in the state for it."""
    if not folded:
        why = "; ".join(f"{name}: {reason}" for name, reason in left.items()) or "no pair was given"
        raise ConversionError(f"no batch norm can be folded ({why}).")
    names = [name for pair in folded for name in pair]
    if len(set(names)) != len(names):
        raise ConversionError("a layer or a batch norm is in more than one pair.")
    for name in names:
        module = modules[name]
        if module.training:
            raise LifecycleError(
                f"{name} is in training mode, where its statistics still move: call model.eval() "
                "first."
            )
        if isinstance(module, Analog) and module.analog["weight"].is_programmed:
            raise LifecycleError(
                f"{name} is programmed: its arrays hold the weights without the batch norm. Call "
                "mho.erase(model), fold, and program again."
            )


def _channels(layer: Any) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


@torch.no_grad()
def _fold(layer: Any, norm: Any) -> None:
    """Write the folded weights into the same Parameters; a new bias where there was none."""
    statistics = (norm.running_mean, norm.running_var, norm.eps)
    ones = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
    zeros = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
    transposed = isinstance(layer, _ConvTransposeNd)
    weight = _swapped(layer.weight, layer.groups) if transposed else layer.weight
    fuse = (
        fusion.fuse_linear_bn_weights
        if isinstance(layer, nn.Linear)
        else fusion.fuse_conv_bn_weights
    )
    weight, bias = fuse(weight, layer.bias, *statistics, ones, zeros)
    layer.weight.copy_(_swapped(weight, layer.groups) if transposed else weight)
    if layer.bias is None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=layer.weight.requires_grad)
    else:
        layer.bias.copy_(bias)


def _swapped(weight: Tensor, groups: int) -> Tensor:
    """(in, out / groups, *kernel) of a transposed convolution <-> (out, in / groups, *kernel)."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
