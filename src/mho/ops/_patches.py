"""The patches of a convolution as rows, and the way back, in one pass over memory each."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._coincidences import Key
from ._one_pass import in_memory
from ._reuse import signed
from ._threads import over_rows

Sizes = tuple[int, ...]


class _Gather(torch.autograd.Function):
    """Patches (B times places, channels times positions) of images (B, channels, ...)."""

    @staticmethod
    @signed
    def forward(x: Tensor, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Tensor:
        from . import _patch_kernels as kernels

        origins, offsets = _indices(x.shape[1:], kernel, stride, dilation)
        rows = torch.empty(len(x) * len(origins), len(offsets))
        images = x.detach().view(len(x), -1).numpy()
        over_rows(kernels.gather, len(x), images, origins, offsets, rows.numpy())
        return rows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, *ctx.sizes = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Scatter.apply(grad, ctx.shape, *ctx.sizes), None, None, None


class _Scatter(torch.autograd.Function):
    """The transpose of `_Gather`."""

    @staticmethod
    @signed
    def forward(
        rows: Tensor, shape: torch.Size, kernel: Sizes, stride: Sizes, dilation: Sizes
    ) -> Tensor:
        return _added_up(rows, torch.ones(len(rows)), 1.0, shape, (kernel, stride, dilation))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, _, *ctx.sizes = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Gather.apply(grad.contiguous(), *ctx.sizes), None, None, None, None


class _DriveByLargest(torch.autograd.Function):
    """See `UnbuiltRows.driven_by_largest`."""

    @staticmethod
    @signed
    def forward(
        x: Tensor, kernel: Sizes, stride: Sizes, dilation: Sizes, steps: float
    ) -> tuple[Tensor, Tensor]:
        from . import _patch_kernels as kernels

        patches = _indices(x.shape[1:], kernel, stride, dilation)
        n = len(x) * len(patches[0])
        v, largest = torch.empty(n, len(patches[1])), torch.empty(n, 1)
        given = x.detach().view(len(x), -1).numpy(), *patches, np.float32(steps)
        over_rows(kernels.drive_by_largest, len(x), *given, v.numpy(), largest.view(-1).numpy())
        return v, largest

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, *ctx.sizes, ctx.steps = inputs
        ctx.shape, largest = x.shape, output[1]
        ctx.save_for_backward(largest)
        ctx.mark_non_differentiable(largest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        (largest,) = ctx.saved_tensors
        nothing = (None,) * 4
        if torch.is_grad_enabled():
            of_rows = grad / largest * ctx.steps  # in this order: 1 / largest may overflow
            return _Scatter.apply(of_rows, ctx.shape, *ctx.sizes), *nothing
        return _added_up(grad, largest, ctx.steps, ctx.shape, ctx.sizes), *nothing


def _added_up(
    rows: Tensor, largest: Tensor, full: float, shape: torch.Size, sizes: tuple[Sizes, ...]
) -> Tensor:
    """Add rows full / largest up where `_Gather` takes them from."""
    from . import _patch_kernels as kernels

    x = torch.zeros(shape)
    given = rows.detach().contiguous().numpy(), largest.view(-1).numpy(), full
    places = _indices(shape[1:], *sizes)
    over_rows(kernels.scatter, len(x), *given, *places, x.view(len(x), -1).numpy())
    return x


def patches_in_one_pass(x: Tensor, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Tensor | None:
    """Return the patches of padded images, (B, *places, channels, positions).

    Args:
        x: (B, channels, ...), with as many spatial axes as there are sizes.
        kernel: size of a patch.
        stride: between patches.
        dilation: between the numbers of a patch.

    Returns:
        A new tensor; None where torch's operators have to do it (`_one_pass`).
    """
    places, x = _places(x.shape[2:], kernel, stride, dilation), x.contiguous()
    if min(places) < 1 or not in_memory(x):
        return None
    return _Gather.apply(x, kernel, stride, dilation).view(len(x), *places, x.shape[1], -1)


def _places(image: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    sizes = zip(image, kernel, stride, dilation, strict=True)
    return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in sizes)


@lru_cache(maxsize=256)
def _indices(
    image: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes
) -> tuple[np.ndarray, np.ndarray]:
    """Return where patches begin in a flat image (channels, ...), and their numbers from there."""
    channels, *spatial = image
    numbers = np.arange(channels * int(np.prod(spatial)), dtype=np.uint64).reshape(image)
    places = _places(tuple(spatial), kernel, stride, dilation)
    every = (slice(None, n * s, s) for n, s in zip(places, stride, strict=True))
    within = (slice(None, k * d, d) for k, d in zip(kernel, dilation, strict=True))
    return numbers[(0, *every)].ravel(), numbers[(slice(None), *within)].ravel()


class UnbuiltRows:
    """The patches of padded images as rows (B places, channels times positions), not built."""

    def __init__(self, x: Tensor, kernel: Sizes, stride: Sizes, dilation: Sizes) -> None:
        self._x, self._sizes = x, (kernel, stride, dilation)
        self.images = x.detach().view(len(x), -1).numpy()
        self.origins, self.offsets = _indices(x.shape[1:], kernel, stride, dilation)
        self.shape = (len(self.images) * len(self.origins), len(self.offsets))

    def __len__(self) -> int:
        return self.shape[0]

    def built(self) -> Tensor:
        """Return the rows."""
        return _Gather.apply(self._x, *self._sizes)

    def driven_by_largest(self, steps: float) -> tuple[Tensor, Tensor]:
        """Return round(steps row / r) (n, k), and r (n, 1); see `ops.drive_by_largest`.

        Rounding has the gradient 1, and r none.
        """
        return _DriveByLargest.apply(self._x, *self._sizes, steps)

    def peaks(self) -> Tensor:
        """Return max |row| (n,), which is not finite if any number is not."""
        from . import _patch_kernels as kernels

        most = torch.empty(len(self.images), len(self.origins))
        given = self.images, self.origins, self.offsets, most.numpy()
        over_rows(kernels.peaks, len(most), *given)
        return most.flatten()


def unbuilt_rows(x: Tensor, kernel: Sizes, stride: Sizes, dilation: Sizes) -> UnbuiltRows | None:
    """Return the rows of `patches_in_one_pass` without building them, under the same conditions."""
    places, x = _places(x.shape[2:], kernel, stride, dilation), x.contiguous()
    if min(places) < 1 or not in_memory(x):
        return None
    return UnbuiltRows(x, kernel, stride, dilation)


def add_patch_coincidences(
    rows: UnbuiltRows, d: Tensor, gains: tuple[Tensor, Tensor], slots: Tensor, first: int,
    step: int, keys: tuple[Key, Key], up: Tensor, down: Tensor,
) -> bool:  # fmt: skip
    """Add the coincidences of trains of rows and of errors to int32 counts (out, rows), in place.

    The trains are those of `bernoulli_words`, but exist only piece by piece. A coincidence raises
    where -d x is positive.

    Args:
        rows: inputs (n, rows).
        d: float32 errors (n, out).
        gains: (n,) each, by which |x| and |d| become chances.
        slots: int32 (n,), at most `SLOTS`.
        first: number of the first sample.
        step: number of the update.
        keys: of x and of d.
        up: counts of pulses that raise.
        down: counts of pulses that lower.

    Returns:
        Whether it was done: not where counts of every thread would take more memory than trains.
    """
    shares = min(torch.get_num_threads(), len(rows))
    if 2 * shares * up.numel() > len(rows) * (rows.shape[1] + d.shape[1]):
        return False
    from . import _patch_kernels as kernels

    both = torch.zeros(2, shares, *up.shape, dtype=torch.int32)
    numbers = (d, *gains, slots)
    over_rows(
        kernels.add_trains, shares, (rows.images, rows.origins, rows.offsets),
        *(t.contiguous().numpy() for t in numbers), first, step, (*keys[0], *keys[1]),
        *both.numpy(),
    )  # fmt: skip
    for raised, lowered in both.unbind(1):
        up += raised
        down += lowered
    return True
