"""How much does weight noise raise the loss, and what does the curvature say?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..deploy import half_width, own_noise, progress
from ..errors import DataError, RangeError
from ..ops import Stream
from ..spec import render_table
from ._noise_targets import NoisyTensor, RelativeTo, Target, Where, digital, find_targets, kept
from ._robustness import checked_levels

Loss = Callable[[nn.Module], Tensor]


@dataclass(frozen=True, eq=False)
class Sharpness:
    """What weight noise does to a loss; prints as a table.

    Attributes:
        noise_level: eta.
        loss: without noise.
        rises: (L(w + n) + L(w - n))/2 - L(w) of each draw.
        curvatures: estimates of 1/2 eta^2 sigma_l^2 tr H_l, (draws, tensors).
        tensors: what got noise.
    """

    noise_level: float
    loss: float
    rises: NDArray[np.float64]
    curvatures: NDArray[np.float64]
    tensors: tuple[NoisyTensor, ...]

    @property
    def rise(self) -> float:
        """Mean rise of the loss."""
        return float(self.rises.mean())

    @property
    def second_order(self) -> float:
        """The rise that the curvature alone would make, 1/2 eta^2 sum_l sigma_l^2 tr H_l."""
        return float(self.curvatures.sum(axis=1).mean())

    def half_width(self, confidence: float = 0.95) -> tuple[float, float]:
        """Half the widths of the confidence intervals of `rise` and of `second_order`."""
        totals = self.curvatures.sum(axis=1)
        return float(half_width(self.rises, confidence)), float(half_width(totals, confidence))

    @property
    def by_tensor(self) -> dict[str, float]:
        """The second-order rise of each tensor, largest first."""
        means = self.curvatures.mean(axis=0)
        ranked = sorted(zip(self.tensors, means, strict=True), key=lambda pair: -pair[1])
        return {tensor.name: float(value) for tensor, value in ranked}

    def table(self) -> str:
        """Return the table as text."""
        total, widths = self.second_order, self.half_width()
        rows = [
            (name, f"{value:.3g}", f"{value / total:.0%}" if total else "")
            for name, value in self.by_tensor.items()
        ]
        title = f"loss {self.loss:.4g}; noise level {self.noise_level:g}, {len(self.rises)} draws"
        lines = [
            render_table(title, ("tensor", "second-order rise", "share"), rows),
            f"rise of the loss:  {self.rise:.4g} ± {widths[0]:.2g} (95 % interval)",
            f"second-order rise: {total:.4g} ± {widths[1]:.2g}",
        ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def sharpness(
    model: nn.Module,
    loss: Loss,
    noise_level: float = 0.05,
    *,
    targets: Literal["weights", "weights+bias"] = "weights",
    relative_to: RelativeTo = "std",
    where: Where | None = None,
    draws: int = 10,
    seed: int = 0,
) -> Sharpness:
    """Measure how much noise on the weights raises a loss, and how much of it is curvature.

    With n ~ N(0, (eta sigma_l)^2) on each tensor l, the rise is E[L(w + n)] - L(w), from pairs w +
    n and w - n, in which the gradient drops out of every single draw. Its second-order law is

        1/2 eta^2 sum_l sigma_l^2 tr H_l

    with H_l the block of the Hessian of tensor l; its trace is Hutchinson's, the mean of z^T H_l z
    over random signs z (Commun. Stat. Simul. Comput. 18:1059, 1989). Both agree for small noise
    where the loss is smooth. The kinks of ReLU are not in H: the rise has them, the law has not.
    The model is left as it was, bit for bit. Tensors and noise are those of `mho.robustness`.

    Args:
        model: digital or converted; products are exact.
        loss: any callable model -> scalar tensor that carries gradients, in eval mode.
        noise_level: eta.
        targets: which tensors get noise.
        relative_to: what stands for sigma_l.
        where: modules whose own tensors get noise; None: all.
        draws: pairs of noise, and vectors of random signs.
        seed: of both.

    Raises:
        RangeError: a level or count out of range, or unknown targets.
        DataError: no tensor to put noise on, or a loss that is not a finite scalar with gradients.
    """
    (eta,) = checked_levels([noise_level], relative_to, draws, seed)
    if targets not in ("weights", "weights+bias"):
        raise RangeError(
            f"targets {targets!r}: use weights or weights+bias (torch passes no gradient through "
            "running statistics)."
        )
    found = find_targets(model, targets, where)
    with digital(model), kept(found) as originals:
        value, curvatures = _curvatures(model, loss, found, eta, relative_to, draws, seed)
        rises = []
        for draw in progress(range(draws), "measuring sharpness", draws):
            pair = []
            for sign in (1, -1):
                for target, original in zip(found, originals, strict=True):
                    size = sign * eta * target.about.unit(relative_to)
                    target.write(original, size * target.noise(seed, draw))
                with torch.no_grad(), own_noise(seed, "score"):
                    pair.append(float(_scalar(loss(model)).detach()))
            rises.append(sum(pair) / 2 - value)
    about = tuple(target.about for target in found)
    return Sharpness(eta, value, np.array(rises), curvatures, about)


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1 or not torch.isfinite(value).all():
        raise DataError(f"loss(model) returned {value!r}; a finite scalar tensor is needed.")
    return value.reshape(())


def _curvatures(
    model: nn.Module,
    loss: Loss,
    found: list[Target],
    eta: float,
    relative_to: RelativeTo,
    draws: int,
    seed: int,
) -> tuple[float, NDArray[np.float64]]:
    """Return the loss, and 1/2 eta^2 sigma_l^2 z^T H_l z of each draw and tensor."""
    tensors = [target.tensor for target in found]
    asked = [tensor.requires_grad for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.requires_grad_(True)
        with torch.enable_grad(), own_noise(seed, "score"):
            value = _scalar(loss(model))
            if not value.requires_grad:
                raise DataError("loss(model) carries no gradient: compute it without no_grad.")
            first = _gradients(value, tensors, create_graph=True)
            sizes = [eta * target.about.unit(relative_to) for target in found]
            products = [_products(first, found, sizes, seed, draw) for draw in range(draws)]
    finally:
        for tensor, flag in zip(tensors, asked, strict=True):
            tensor.requires_grad_(flag)
    return float(value.detach()), np.array(products)


def _gradients(value: Tensor, tensors: list[Tensor], *, create_graph: bool) -> list[Tensor]:
    """Return the gradients, zeros where the value does not depend on a tensor."""
    if not value.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    found = torch.autograd.grad(
        value, tensors, create_graph=create_graph, retain_graph=True, allow_unused=True
    )
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]


def _products(
    first: list[Tensor], found: list[Target], sizes: list[float], seed: int, draw: int
) -> list[float]:
    """Return 1/2 v_l . (H v)_l of each tensor for v_l = sigma_l z_l.

    The blocks off the diagonal of H have a mean of zero, as the signs of tensors are independent.
    """
    vectors = []
    for target, size in zip(found, sizes, strict=True):
        draws = Stream(seed, target.about.name).uniform("signs", tuple(target.tensor.shape), draw)
        signs = torch.where(draws < 0.5, -size, size)
        vectors.append(signs.to(target.tensor.device, target.tensor.dtype))
    along = torch.stack([(g * v).sum() for g, v in zip(first, vectors, strict=True)]).sum()
    second = _gradients(along, [target.tensor for target in found], create_graph=False)
    return [0.5 * float((v * h).double().sum()) for v, h in zip(vectors, second, strict=True)]
