"""A digital unit of half precision."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..ops import differentiable, straight_through
from ._digital import Constants, Digital, Sums

LARGEST = torch.finfo(torch.float16).max


class Half(Digital):
    """Fused multiply-add in half precision (IEEE 754 binary16), as in the 14 nm chip of 64 cores.

    Scale and offset are rounded to half precision; of each array, s x + o is computed in single
    precision and rounded once, o being in the first array; the sum over arrays is rounded again.
    Beyond 65504 a result is infinite. Source: the FP16 units which Ferro et al., 2024,
    arXiv 2402.07549, compare theirs with.
    """

    kind: Literal["half"] = "half"

    def affine(
        self, x: Tensor, constants: Constants, sums: Sums, beyond: list[Tensor] | None = None
    ) -> Tensor:
        """See `Digital.affine`."""
        scale, offset, _ = constants
        slices, columns = scale.shape
        first = F.pad(_half(offset)[None], (0, columns - len(offset), 0, slices - 1))
        parts = x * sums.on_columns(_half(scale)) + sums.on_columns(first)
        y = sums.total(_half(parts))
        y = _half(y) if sums.arrays > 1 else y
        if beyond is not None:
            beyond += [y.detach() == torch.inf, y.detach() == -torch.inf]
        return y

    def fits(self, constants: Constants, arrays: int) -> tuple[Tensor, Tensor]:
        """Neither infinite, nor a scale that becomes zero."""
        scale, offset, _ = constants
        lost = (scale != 0) & (scale.half() == 0)
        return scale.half().isfinite() & ~lost, offset.half().isfinite()

    def holds(self, step: Tensor | None, arrays: int) -> str:
        """See `Digital.holds`."""
        return (
            "half precision holds 6e-8 to 65504: scale the weights of the layer, or use "
            "`digital: float`"
        )


def _half(x: Tensor) -> Tensor:
    """Round to half precision, straight through."""
    rounded = x.detach().half().to(x.dtype)
    if not differentiable(x):
        return rounded
    return straight_through(x, rounded - x.detach())
