"""Round weight matrices to a few levels, in place, for digital hardware of low precision."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..circuits import half_steps
from ..errors import DataError, LifecycleError, RangeError
from ..ops import all_finite, to_codes
from ..spec import render_table
from ..tiles import Geometry, Hardware, column_scale, spread_over_rows
from ._crossbar import Crossbar
from ._huggingface import find_layer
from ._layer import Analog

Where = Callable[[str, nn.Module], bool]
Per = Literal["column", "tile"]


class Matrix(NamedTuple):
    """A weight matrix of a model, converted or not."""

    name: str
    weight: nn.Parameter
    kind: type[Analog]
    geometry: Geometry
    crossbar: Crossbar | None


class Codes(NamedTuple):
    """A matrix as integers from -limit to limit, (out, rows), and scales, (row-slices, out)."""

    codes: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Quantization:
    """What `mho.quantize` did; prints as a table.

    Attributes:
        bits: resolution.
        per: what shares a scale.
        errors: ||rounded - w|| / ||w||, by weight.
    """

    bits: int
    per: str
    errors: dict[str, float]

    def __str__(self) -> str:
        rows = [(name, f"{error:.2%}") for name, error in self.errors.items()]
        title = f"{len(rows)} matrices rounded to {self.bits} bits, one scale per {self.per}"
        return render_table(title, ("weight", "relative error"), rows)


@torch.no_grad()
def quantize(
    model: nn.Module, *, bits: int = 4, per: Per = "column", where: Where | None = None
) -> Quantization:
    """Round the weight matrices of a model to the nearest of 2^bits - 1 levels, in place.

        w -> s k / K,  k = round(K w / s),  K = 2^(bits - 1) - 1,  s = max |w| of the column

    A column of the matrix holds the weights of one output; where the matrix is split over arrays,
    every part has its own scale. The levels are symmetric with one at zero, the largest weight
    stays what it is, and rounding again changes nothing. This is the plain rounding to nearest with
    which Buechel et al., NeurIPS 2025 (arXiv:2505.09663), put analog foundation models on digital
    hardware of 4 bits. Biases, embeddings and normalizations are left alone.

    Args:
        model: a model, converted or not.
        bits: resolution, 2 to 8.
        per: what shares a scale: a column, or all of an array.
        where: which modules to quantize, such as ~mho.named("lm_head").

    Raises:
        RangeError: bits or per is none of the above.
        LifecycleError: a layer is programmed, sharded over processes, or on the meta device.
        DataError: a weight is not finite, or there is none to round. Nothing was changed.
    """
    limit, errors = largest_code(bits, per), {}
    for matrix in list(matrices(model, where)):
        rounded = decode(encode(matrix, limit, per), matrix, limit)
        error = (rounded.float() - matrix.weight.float()).norm() / matrix.weight.float().norm()
        errors[matrix.name] = float(error.nan_to_num())  # a matrix of zeros has none
        matrix.weight.copy_(rounded)
    return Quantization(bits, per, errors)


def largest_code(bits: int, per: str) -> int:
    """Return K, after a look at the arguments."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
        raise RangeError(f"bits must be a whole number from 2 to 8, got {bits!r}.")
    if per not in ("column", "tile"):
        raise RangeError(f"unknown per={per!r}: use column or tile.")
    return half_steps(bits, None) or 1


def matrices(model: nn.Module, where: Where | None = None) -> Iterator[Matrix]:
    """Yield every weight matrix once: what is on arrays, or what `mho.convert` would put there."""
    seen: set[int] = set()
    for matrix in _every(model, where):
        if id(matrix.weight) in seen:
            continue
        seen.add(id(matrix.weight))
        if matrix.crossbar is not None and matrix.crossbar.is_programmed:
            raise LifecycleError(
                f"{matrix.name} is programmed, and its cells would keep what they hold: call "
                "mho.erase(model) first, and mho.program(model, seed=...) afterwards."
            )
        if matrix.weight.is_meta or hasattr(matrix.weight, "full_tensor"):
            raise LifecycleError(
                f"{matrix.name} has no values here, or only a shard of them: quantize after "
                "loading and before sharding."
            )
        if not all_finite(matrix.weight):
            raise DataError(f"{matrix.name} has values that are not finite; nothing was changed.")
        yield matrix
    if not seen:
        raise DataError("no layer that `where` admits has a weight matrix for arrays.")


def _every(model: nn.Module, where: Where | None) -> Iterator[Matrix]:
    inside: set[int] = set()
    for name, module in model.named_modules():
        analog = isinstance(module, Analog)
        layer = type(module) if analog else find_layer(module) or Analog.registry.get(type(module))
        if layer is None or id(module) in inside:
            continue
        inside |= {id(part) for part in module.modules()}
        if where is not None and not where(name, module):
            continue
        crossbars: dict[str, Any] = dict(module.analog.by_path()) if analog else {}
        layouts = {path: crossbar.geometry for path, crossbar in crossbars.items()}
        for path, geometry in (layouts or layer.layouts(module, Hardware())).items():
            full = f"{name}.{path}" if name else path
            weight = attrgetter(path)(module)
            yield Matrix(full, weight, layer, geometry, crossbars.get(path))


def encode(matrix: Matrix, limit: int, per: Per) -> Codes:
    """Return the codes of what the arrays are to hold of a matrix, which a learned clip limits."""
    w = matrix.kind.to_matrix(matrix.weight.detach(), matrix.geometry).float()
    w = w if matrix.crossbar is None else matrix.crossbar.target(w)
    scale = column_scale(w, per, matrix.geometry)
    relative = w / spread_over_rows(scale, matrix.geometry)
    return Codes(to_codes(relative * limit, limit).to(torch.int8), scale)


def decode(coded: Codes, matrix: Matrix, limit: int) -> Tensor:
    """Return the weight of codes, in the shape and dtype of its Parameter."""
    # In this order the largest code gives back its scale exactly.
    w = coded.codes.float() / limit * spread_over_rows(coded.scale, matrix.geometry)
    like = matrix.weight.detach()
    return matrix.kind.from_matrix(w, like, matrix.geometry).to(like.dtype)
