"""The tensors of a model that weight noise is put on, and the noise itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import is_parametrized

from ..deploy import evaluating, exact_products
from ..errors import DataError, RangeError
from ..nn import Crossbar, sites
from ..ops import Stream, all_finite

Targets = Literal["weights", "weights+bias", "all"]
RelativeTo = Literal["std", "max", "range"]
Where = Callable[[str, nn.Module], bool]
LOOKUPS = (nn.Embedding, nn.EmbeddingBag)
NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class NoisyTensor:
    """A tensor that gets noise, and the figures that noise levels are relative to.

    Attributes:
        name: qualified name.
        size: number of values.
        std: standard deviation of its values, sigma_w.
        peak: largest magnitude, max|w|.
        span: max w - min w.
    """

    name: str
    size: int
    std: float
    peak: float
    span: float

    def unit(self, relative_to: RelativeTo) -> float:
        """Return the noise's standard deviation at a level of 1."""
        return {"std": self.std, "max": self.peak, "range": self.span}[relative_to]


class Target:
    """A live tensor of the model, with a copy of its values."""

    def __init__(self, name: str, tensor: Tensor, *, nonnegative: bool = False) -> None:
        self.tensor, self.nonnegative = tensor, nonnegative
        w = tensor.detach().float()
        if w.is_meta or not all_finite(w):
            raise DataError(f"{name} has no finite values: load the weights first.")
        std, least, most = float(w.std(correction=0)), float(w.min()), float(w.max())
        self.about = NoisyTensor(name, w.numel(), std, max(abs(least), abs(most)), most - least)

    def noise(self, seed: int, draw: int) -> Tensor:
        """Return standard normal numbers, a function of seed, name and draw alone."""
        xi = Stream(seed, self.about.name).normal("weight noise", tuple(self.tensor.shape), draw)
        return xi.to(self.tensor.device)

    @torch.no_grad()
    def write(self, original: Tensor, change: Tensor) -> None:
        """Set the tensor to original + change; a variance is reflected at 0."""
        value = original.float() + change
        self.tensor.copy_(value.abs() if self.nonnegative else value)


@contextmanager
def kept(targets: list[Target]) -> Iterator[list[Tensor]]:
    """Give copies of the tensors' values, and put these back at the end, bit for bit."""
    originals = [target.tensor.detach().clone() for target in targets]
    try:
        yield originals
    finally:
        with torch.no_grad():
            for target, original in zip(targets, originals, strict=True):
                target.tensor.copy_(original)


@contextmanager
def digital(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode and, where it is on arrays, let those multiply exactly."""
    exact = exact_products(model) if any(True for _ in sites(model)) else nullcontext()
    with evaluating(model), exact:
        yield


def find_targets(model: nn.Module, targets: str, where: Where | None) -> list[Target]:
    """Return the tensors that are meant, each once.

    Raises:
        RangeError: an unknown choice of targets.
        DataError: there is none, or one has no finite values or is re-parametrized.
    """
    if targets not in get_args(Targets):
        raise RangeError(f"unknown targets {targets!r}: use {', '.join(get_args(Targets))}.")
    found: dict[int, Target] = {}
    for name, module in model.named_modules():
        if isinstance(module, Crossbar) or (where is not None and not where(name, module)):
            continue
        for key, tensor, nonnegative in _of_module(module, targets):
            label = f"{name}.{key}" if name else key
            if id(tensor) not in found:
                found[id(tensor)] = Target(label, tensor, nonnegative=nonnegative)
    if not found:
        raise DataError(f"the model has no tensor to put noise on (targets={targets!r}).")
    return list(found.values())


def _of_module(module: nn.Module, targets: str) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield (name, tensor, whether it must not be negative) of a module's own tensors."""
    own = {k: p for k, p in module.named_parameters(recurse=False) if p.is_floating_point()}
    if is_parametrized(module):
        raise DataError(
            f"{type(module).__name__} is re-parametrized, so its weights are not Parameters: call "
            "torch.nn.utils.parametrize.remove_parametrizations first."
        )
    apart = isinstance(module, (*LOOKUPS, *NORMS))
    matrices = [] if apart else [k for k, p in own.items() if p.dim() >= 2]
    for key, parameter in own.items():
        is_bias = bool(matrices) and key not in matrices
        if key in matrices or targets == "all" or (is_bias and targets == "weights+bias"):
            yield key, parameter, False
    if targets == "all" and isinstance(module, _NormBase) and module.running_mean is not None:
        assert module.running_var is not None
        yield "running_mean", module.running_mean, False
        yield "running_var", module.running_var, True
