"""What in-memory training needs of a product: its inputs, and the errors that come back to it.

The gradient of a loss with respect to a weight matrix is G = sum_n d_n x_n^T over all vectors x_n
that the matrix was multiplied with, d_n being the gradient with respect to the product y_n = W x_n.
Arrays that are trained in memory make their pulses from the vectors themselves (Gokmen & Vlasov,
Front. Neurosci. 10:333, 2016, Eq. 2), so G is never computed: x and d are kept as the layer had
them, and are laid out as vectors only piece by piece when they are used.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import LifecycleError
from ..ops import UnbuiltRows, signed
from ..tiles import (
    Backward,
    Convolution,
    Geometry,
    Hardware,
    Operand,
    mvm,
    mvm_t,
    read_rows,
)

LIMIT = 1 << 22
"""Numbers in one piece of vectors: 16 MiB of float32, what a mini-batch of a linear layer takes."""


@dataclass(frozen=True)
class Recorded:
    """The inputs of one product as the layer had them, and the errors at its outputs.

    Attributes:
        x: the product's input.
        d: gradient with respect to its output, in units of y = W x.
        geometry: how x becomes vectors.
        limit: input of full scale for each row, (rows,), where inputs are limited to it.
        factor: multiplies d, where the loss was scaled.
        largest_error: vectors d with a larger max|d| are scaled down to it.
    """

    x: Tensor
    d: Tensor
    geometry: Geometry
    limit: Tensor | None = None
    factor: float = 1.0
    largest_error: float | None = None

    def __len__(self) -> int:
        """Return the number of vectors; those of several groups of channels count apart."""
        return self.d.numel() // self.geometry.out * self.geometry.groups

    def chunks(self, limit: int = LIMIT) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield vectors x (n, rows) and errors d (n, out), float32, in pieces of bounded size.

        A convolution is unfolded image by image, as many at a time as `limit` numbers allow.
        """
        for x, d in self.pieces(limit, unbuilt=False):
            assert isinstance(x, Tensor)
            yield x, d

    def pieces(
        self, limit: int = LIMIT, *, unbuilt: bool = True
    ) -> Iterator[tuple[Tensor | UnbuiltRows, Tensor]]:
        """Yield the same; x comes without being unfolded if it may and can."""
        width = self.geometry.rows + self.geometry.out
        samples = max(1, self.x.shape[0]) if self.x.dim() > 1 else 1
        if not isinstance(self.geometry, Convolution):  # vectors are rows of x already
            samples = max(1, len(self))
            x, d = self.x.reshape(samples, -1), self.d.reshape(samples, -1)
        else:
            x, d = self.x, self.d
        each = max(1, limit * samples // max(1, len(self) * width))
        for part_x, part_d in zip(x.split(each), d.split(each), strict=True):
            yield from self._vectors(part_x.float(), part_d.float(), unbuilt)

    def largest(self) -> tuple[Tensor, Tensor]:
        """Return max|x| and max|d| over all vectors, without laying them out."""
        x, d = self.x.abs().float(), self.d.abs().float().max() * self.factor
        if self.limit is not None:
            x = x.clamp(max=float(self.limit.max()))
        return x.max(), d if self.largest_error is None else d.clamp(max=self.largest_error)

    def _vectors(
        self, x: Tensor, d: Tensor, unbuilt: bool
    ) -> Iterator[tuple[Tensor | UnbuiltRows, Tensor]]:
        errors = self.geometry.by_output(d)
        errors = errors if self.factor == 1.0 else errors * self.factor
        if self.largest_error is not None:
            most = errors.abs().amax(1, keepdim=True)
            limited = errors * (self.largest_error / most)
            errors = torch.where(most > self.largest_error, limited, errors)
        rows = self.geometry.unbuilt_vectors(x) if unbuilt and self.limit is None else None
        if rows is not None:
            yield rows, errors
            return
        vectors = self.geometry.vectors_of(x)  # (n, groups, rows)
        if self.limit is not None:
            limit = self.limit.to(vectors)
            vectors = torch.maximum(torch.minimum(vectors, limit), -limit)
        groups = vectors.shape[1]
        per_group = errors.shape[1] // groups
        for group in range(groups):  # the arrays of a group see its channels only
            own = errors
            if groups > 1:
                own = torch.zeros_like(errors)
                mine = slice(group * per_group, (group + 1) * per_group)
                own[:, mine] = errors[:, mine]
            yield vectors[:, group], own


class Recorder:
    """Collects what a crossbar multiplies with in training mode, backward pass by backward pass.

    Attributes:
        geometry: the crossbar's.
        scale: the weight that a relative weight of 1 on the arrays stands for; the units of the
            read-out's noise and bounds. None: what the mapping says.
        limit: returns the input of full scale for each row as it is now (ranges may be learned),
            where inputs are limited to it.
        backward: how the arrays are read backward; None: exactly.
        factor: returns what errors are to be multiplied with, where the loss is scaled.
        records: what came since the last `take`.
        seen: counts the backward passes; what changes here tells compilers that one has an effect.
    """

    def __init__(
        self,
        geometry: Geometry,
        scale: float | None = None,
        limit: Callable[[], Tensor] | None = None,
    ) -> None:
        self.geometry, self.scale, self.limit = geometry, scale, limit
        self.backward: Backward | None = None
        self.factor: Callable[[], float] | None = None
        self.records: list[Recorded] = []
        self.seen = torch.zeros((), dtype=torch.int64)
        self.key = next(_KEYS)
        _RECORDERS[self.key] = self

    def __reduce__(self) -> Any:
        return type(None), ()  # a copy of the model has no arrays that are being trained

    def take(self) -> list[Recorded]:
        """Return what came since the last call."""
        taken, self.records = self.records, []
        return taken

    def add(self, x: Tensor, d: Tensor) -> None:
        """Note one product: its input and the gradient with respect to its output."""
        factor = 1.0 if self.factor is None else self.factor()
        limit = None if self.limit is None else self.limit()
        self.records.append(Recorded(x, d, self.geometry_of(x, d), limit, factor))

    def read_back(self, x: Tensor, d: Tensor, weight: Tensor, rows: bool = False) -> Tensor:
        """Return the gradient with respect to x that the arrays give for errors d.

        A scaled loss does not scale what is driven.

        Args:
            x: the product's input.
            d: gradient with respect to its output.
            weight: what the arrays hold.
            rows: whether to return the gradients of all vectors (n, groups, rows) instead.
        """
        assert self.backward is not None
        factor = 1.0 if self.factor is None else self.factor()
        d = d if factor == 1.0 else d * factor
        scale = 1.0 if self.scale is None else self.scale
        geometry = self.geometry_of(x, d)
        product = read_rows if rows else mvm_t
        limit = None if self.limit is None else self.limit()
        back = product(d, x, weight, scale, self.backward, geometry, limit)
        return back if factor == 1.0 else back / factor

    def geometry_of(self, x: Tensor, d: Tensor) -> Geometry:
        """Tell from the output d which of the sizes that a transposed convolution allows it has."""
        geometry = self.geometry
        if not isinstance(geometry, Convolution) or not geometry.transposed:
            return geometry
        plain = replace(geometry, output_padding=(0,) * len(geometry.kernel))
        extra = zip(d.shape[2:], plain.spatial(x), strict=True)
        return replace(geometry, output_padding=tuple(n - m for n, m in extra))


_KEYS = itertools.count()
_RECORDERS: weakref.WeakValueDictionary[int, Recorder] = weakref.WeakValueDictionary()
"""Operators take no objects, only numbers."""


@torch.library.custom_op("mho::hand_over", mutates_args=("seen",))
def _hand_over(x: Tensor, d: Tensor, seen: Tensor, key: int) -> None:
    # Compiled code may use the memory of its intermediate results again.
    _RECORDERS[key].add(x.clone(), d.clone())
    seen.add_(1)


@_hand_over.register_fake
def _(x: Tensor, d: Tensor, seen: Tensor, key: int) -> None:
    return None


@torch.library.custom_op("mho::read_back", mutates_args=())
def _read_back(x: Tensor, d: Tensor, weight: Tensor, key: int) -> Tensor:
    return _RECORDERS[key].read_back(x, d, weight, rows=True)


@_read_back.register_fake
def _(x: Tensor, d: Tensor, weight: Tensor, key: int) -> Tensor:
    geometry = _RECORDERS[key].geometry
    return weight.new_empty(d.numel() // geometry.out, geometry.groups, geometry.rows)


class _Tap(torch.autograd.Function):
    """The identity of a product y, whose backward pass hands over x and d.

    The weight makes y require a gradient, also in a first layer, and gets none.
    """

    @staticmethod
    @signed
    def forward(y: Tensor, x: Tensor, weight: Tensor, seen: Tensor, key: int) -> Tensor:
        # `detach` is no view to autograd, so that the result may be changed in place.
        return y.clone() if torch.compiler.is_compiling() else y.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, x, _, seen, ctx.key = inputs
        ctx.save_for_backward(x)
        ctx.seen = seen

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, None, None, None, None]:
        (x,) = ctx.saved_tensors
        _note(x, d, ctx.seen, ctx.key)
        return d, None, None, None, None


class _TapBack(torch.autograd.Function):
    """`_Tap`, whose backward pass reads the arrays backward for the gradient of `source`.

    That is x, or where code is compiled its vectors: operators of compiled code have no automatic
    derivatives by which patches could be added up.
    """

    @staticmethod
    @signed
    def forward(
        y: Tensor, source: Tensor, x: Tensor, weight: Tensor, held: Tensor, seen: Tensor, key: int
    ) -> Tensor:
        return y.clone() if torch.compiler.is_compiling() else y.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, _, x, _, held, seen, ctx.key = inputs
        ctx.save_for_backward(x, held)
        ctx.seen = seen

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, held = ctx.saved_tensors
        _note(x, d, ctx.seen, ctx.key)
        back = None
        if ctx.needs_input_grad[1]:
            if torch.compiler.is_compiling():
                back = _read_back(x, d, held, ctx.key)
            else:
                back = _RECORDERS[ctx.key].read_back(x, d, held)
        return d, back, None, None, None, None, None


def _note(x: Tensor, d: Tensor, seen: Tensor, key: int) -> None:
    if torch.compiler.is_compiling():
        _hand_over(x, d, seen, key)
    elif torch.is_grad_enabled():
        raise LifecycleError(
            "arrays that are trained in memory have no second derivatives: call backward "
            "without create_graph=True."
        )
    else:
        _RECORDERS[key].add(x, d)


def recorded(
    x: Tensor,
    weight: Tensor,
    operand: Operand,
    hardware: Hardware,
    geometry: Geometry,
    recorder: Recorder,
) -> Tensor:
    """Return the product of `mvm`; its backward pass gives x and d to a recorder.

    The gradient of x is exact, or what a recorder's `backward` makes of it.

    The digital gain comes after the tap, so that d is in units of the arrays' own product.
    """
    gain = operand.gain
    if operand.unit is not None and gain is not None:
        raise LifecycleError(
            f"{operand.unit.name}: a learned output scale acts inside the digital unit, where "
            "training in memory cannot reach it: train with `digital: float`."
        )
    plain = replace(operand, gain=None)
    if recorder.backward is None:
        y = mvm(x, plain, hardware, geometry)
        y = _Tap.apply(y, x.detach(), weight, recorder.seen, recorder.key)
    else:
        y = mvm(x.detach(), plain, hardware, geometry)  # what is learned of it, such as a range
        compiling = torch.compiler.is_compiling()
        source = recorder.geometry_of(x, y).vectors_of(x) if compiling else x
        held = operand.weight.detach()
        y = _TapBack.apply(y, source, x.detach(), weight, held, recorder.seen, recorder.key)
    return y if gain is None else y * geometry.on_outputs(gain.to(y.dtype))
