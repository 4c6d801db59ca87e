"""Clipping of weights, so that fewer outliers set the scale of a column."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..ops import settled_limits
from ..spec import Variant
from ..tiles import Geometry, spread_over_rows


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

    Where weights are exactly alike, nothing is clipped; see `settled_limits`.
    """
    if weight.shape[1] < 2:
        return torch.full_like(weight[:, :1], torch.inf)
    return settled_limits(weight.detach().float().contiguous(), sigma).to(weight.dtype)
