"""Read programmed weights back through the noisy arrays."""

import torch
from torch import Tensor, nn

from ..errors import LifecycleError
from ..ops import Stream
from ..tiles import Dense, mvm
from ._crossbar import Crossbar
from ._layer import Site, sites


@torch.no_grad()
def estimate(crossbar: Crossbar, weight: Tensor, oversampling: int) -> Tensor:
    """Return a matrix (out, rows) estimated by least squares from products with random inputs.

    W = argmin |X W^T - Y|^2 for X with independent Gaussian entries, whose std is a quarter of the
    input range so that few are clipped, and Y the noisy analog products.
    """
    geometry = crossbar.geometry
    flat = Dense(geometry.out, geometry.partition, geometry.slices)
    operand = crossbar.operand(weight)
    assert crossbar.seed is not None
    x = Stream(int(crossbar.seed), crossbar.name).normal(
        "read-out", (oversampling * geometry.rows, geometry.rows)
    )
    x = x.to(weight.device) * (crossbar.full_scale() / 4)
    y = mvm(x, operand, crossbar.hardware, flat)
    return torch.linalg.lstsq(x, y).solution.T


@torch.no_grad()
def read_weights(model: nn.Module, oversampling: int) -> None:
    """Write into every weight what its arrays show."""
    found: list[tuple[Site, Tensor]] = []
    for site in sites(model):
        if not site.crossbar.is_programmed:
            raise LifecycleError(
                f"{site.name} is not programmed: call mho.program(model, seed=...) first."
            )
        found.append((site, estimate(site.crossbar, site.matrix.float(), oversampling)))
    for site, matrix in found:
        site.weight.copy_(site.shaped(matrix))
        site.crossbar.clip_bound = site.crossbar.output_scale = None  # they are in the weights now
