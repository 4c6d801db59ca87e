"""Clipping of weights, so that fewer outliers set the scale of a column."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..spec import Variant
from ..tiles import Geometry, spread_over_rows

SETTLED = 1e-4


class Clip(Variant):
    """Weights limited to [-b, b]. All but `learned` write the Parameter, after optimizer steps."""

    @property
    def writes(self) -> bool:
        """Whether the Parameter is clipped after every step."""
        return True

    @abstractmethod
    def bound(self, weight: Tensor, geometry: Geometry) -> Tensor:
        """Return b, broadcastable to a weight matrix (out, rows)."""


class FixedClip(Clip):
    """b is a number."""

    kind: Literal["fixed"] = "fixed"
    value: float = Field(gt=0, description="Largest |w|, in the units of the model.")

    def bound(self, weight: Tensor, geometry: Geometry) -> Tensor:
        """Return the number."""
        return weight.new_tensor(self.value)


class LayerClip(Clip):
    """b = sigma std(clip(w, b)) over all weights of the layer.

    The papers clip at sigma std(w) after every step (Joshi et al., Nat. Commun. 11:2473, 2020;
    Buechel et al., arXiv 2505.09663). Clipping lowers std, so what they repeat is the iteration to
    this bound; taken at once, clipping a clipped matrix changes nothing.
    """

    kind: Literal["layer"] = "layer"
    sigma: float = Field(gt=1, description="Standard deviations inside the bound.")

    def bound(self, weight: Tensor, geometry: Geometry) -> Tensor:
        """Return b, (1, 1)."""
        return settled_bound(weight.reshape(1, -1), self.sigma)


class ColumnClip(Clip):
    """The same for the weights of each array column on its own."""

    kind: Literal["column"] = "column"
    sigma: float = Field(gt=1, description="Standard deviations inside the bound.")

    def bound(self, weight: Tensor, geometry: Geometry) -> Tensor:
        """Return b, (out, 1) or (out, rows)."""
        sizes = list(geometry.partition.rows)
        bounds = [settled_bound(part, self.sigma) for part in weight.split(sizes, 1)]
        if len(bounds) == 1:
            return bounds[0]
        return spread_over_rows(torch.cat(bounds, 1).T, geometry)


class LearnedClip(Clip):
    """b is a Parameter of each array column, trained with the model; the weights stay as they are.

    It begins at `sigma` standard deviations. See `Crossbar.target` for its gradient.
    """

    kind: Literal["learned"] = "learned"
    sigma: float = Field(default=2.5, gt=1, description="Standard deviations it begins at.")

    @property
    def writes(self) -> bool:
        """No: the clip is a part of the forward pass."""
        return False

    def bound(self, weight: Tensor, geometry: Geometry) -> Tensor:
        """Return the bound to begin with."""
        return ColumnClip(sigma=self.sigma).bound(weight, geometry)


def settled_bound(weight: Tensor, sigma: float) -> Tensor:
    """Return b (n, 1) with b = sigma std(clip(w, b)) for each row of weights (n, k).

    std is around the mean, of the sample. The iteration starts at the largest |w| and falls. Where
    it falls below half of sigma std(w), as for weights that are nearly all zero or nearly all
    alike, there is no such b near it, and b = sigma std(w) is taken once; where weights are exactly
    alike, nothing is clipped.
    """
    w = weight.detach().float()
    if w.shape[1] < 2:
        return torch.full_like(w[:, :1], torch.inf)
    once = sigma * _std(w)
    bound, floor = torch.minimum(once, w.abs().amax(1, keepdim=True)), once / 2
    while True:
        new = torch.minimum(sigma * _std(w.clamp(-bound, bound)), bound)
        if ((new >= bound * (1 - SETTLED)) | (new <= floor)).all():
            break
        bound = new
    bound = torch.where(new > floor, bound, once)
    return torch.where(bound > 0, bound, torch.inf).to(weight.dtype)


def _std(w: Tensor) -> Tensor:
    """Standard deviation of the sample in each row, (n, 1); faster than torch's of small numbers.

    Where weights differ by rounding errors only, the difference of their moments means nothing.
    """
    n, square = w.shape[1], torch.linalg.vector_norm(w, dim=1, keepdim=True).square()
    variance = square - n * w.mean(1, keepdim=True).square()
    return torch.where(variance > 1e-5 * square, variance / (n - 1), 0.0).sqrt()
