"""How exact is one matrix product on the hardware, now and later?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..circuits import Fixed
from ..errors import DataError, RangeError
from ..nn import Site, convert, converted
from ..ops import Stream
from ..spec import seconds
from ..tiles import Dense, Hardware, load, mvm
from ._calibrate import calibrate
from ._compensate import compensate
from ._evaluate import TIMES, _check
from ._model import own_noise
from ._mvm_result import MvmError
from ._program import at, program
from ._progress import progress

Inputs = Literal["uniform", "gaussian", "positive"]
INPUTS = ("uniform", "gaussian", "positive")
WEIGHT_STD = 0.246


def mvm_error(
    hardware: Hardware | str | Path,
    *,
    out: int = 512,
    rows: int = 512,
    vectors: int = 256,
    weight: Tensor | None = None,
    inputs: Inputs = "uniform",
    sparsity: float = 0.5,
    times: Sequence[str | float] = TIMES,
    compensation: str = "global",
    instances: int = 10,
    seed: int = 0,
) -> MvmError:
    """Measure the relative L2 error of a matrix product on programmed chips over time.

    The error is |Y - X W^T|_F / |X W^T|_F over a batch X of inputs. Instance i has the chip of seed
    `seed + i`, and weights and inputs of its own from the same seed: weights 0.246 xi limited to
    [-1, 1] and inputs with a share `sparsity` of zeros are those of Le Gallo et al., APL Mach.
    Learn. 1:041102 (2023). Input ranges and ADC bounds that ask for data are calibrated to the
    largest value.

    Args:
        hardware: the value, or a preset's name or path.
        out: outputs of the matrix.
        rows: inputs of the matrix.
        vectors: inputs in the batch.
        weight: a matrix (out, rows) of your own, the same for all instances.
        inputs: `uniform` in [-1, 1], `gaussian` with its range at three standard deviations and
            limited there, or `positive`, uniform in [0, 1]; times the value of a fixed range.
        sparsity: share of inputs that are 0.
        times: since programming.
        compensation: what `mho.compensate` does before each product; `affine` fits the batch.
        instances: how many.
        seed: seed of the first instance.

    Raises:
        RangeError: a size or share out of range, or an unknown law, time or compensation.
        DataError: the weight is not a finite matrix.
    """
    hardware = hardware if isinstance(hardware, Hardware) else load(hardware)
    if weight is not None:
        out, rows = _matrix_shape(weight)
    _check_sizes(out, rows, vectors, inputs, sparsity)
    moments = tuple(seconds(time) for time in times)
    _check(moments, instances, compensation, [()] if compensation == "affine" else None)
    own = None if weight is None else weight.detach().float().cpu()
    totals, arrays = [], []
    for i in progress(range(seed, seed + instances), "programming chips", instances):
        stream = Stream(i, "mvm error")
        w = _weight(stream, out, rows) if own is None else own
        x = _inputs(stream, vectors, rows, inputs, sparsity, hardware)
        layer = _programmed_layer(w, x, hardware, i)
        found = [_errors(layer, x, moment, compensation) for moment in moments]
        totals.append([total for total, _ in found])
        arrays.append([by_array for _, by_array in found])
    return MvmError(
        times=moments,
        seeds=tuple(range(seed, seed + instances)),
        errors=np.array(totals),
        arrays=np.array(arrays),
        shape=(out, rows),
        inputs=inputs,
        compensation=compensation,
    )


def _matrix_shape(weight: Tensor) -> tuple[int, int]:
    if weight.dim() != 2 or not weight.numel() or not torch.isfinite(weight).all():
        raise DataError(
            f"weight must be a finite matrix (out, rows), got shape {tuple(weight.shape)}"
            f"{'' if torch.isfinite(weight).all() else ' with values that are not finite'}."
        )
    return weight.shape[0], weight.shape[1]


def _check_sizes(out: int, rows: int, vectors: int, inputs: str, sparsity: float) -> None:
    for name, size in {"out": out, "rows": rows, "vectors": vectors}.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise RangeError(f"{name} must be a whole number of at least 1, got {size!r}.")
    if inputs not in INPUTS:
        raise RangeError(f"unknown law of inputs {inputs!r}: use {', '.join(INPUTS)}.")
    if not 0 <= sparsity < 1:
        raise RangeError(f"sparsity must be at least 0 and below 1, got {sparsity}.")


def _weight(stream: Stream, out: int, rows: int) -> Tensor:
    return (WEIGHT_STD * stream.normal("weight", (out, rows))).clamp(-1, 1)


def _inputs(
    stream: Stream, vectors: int, rows: int, law: str, sparsity: float, hardware: Hardware
) -> Tensor:
    shape, rule = (vectors, rows), hardware.dac.range
    if law == "gaussian":
        x = (stream.normal("input", shape) / 3).clamp(-1, 1)
    else:
        x = stream.uniform("input", shape)
        x = 2 * x - 1 if law == "uniform" else x
    x = x * (stream.uniform("sparsity", shape) >= sparsity)
    return x * rule.value if isinstance(rule, Fixed) else x


def _programmed_layer(weight: Tensor, x: Tensor, hardware: Hardware, seed: int) -> nn.Linear:
    """Return a linear layer on the hardware, calibrated on x and programmed."""
    # Without storage there is no initialization, which would draw from the caller's random numbers.
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta").eval()
    layer.weight = nn.Parameter(weight, requires_grad=False)
    convert(layer, hardware)
    calibrate(layer, [x], method="max")
    program(layer, seed=seed)
    return layer


@torch.no_grad()
def _errors(
    layer: nn.Linear, x: Tensor, moment: float, compensation: str
) -> tuple[float, NDArray[np.float64]]:
    """Return the relative error at a time, of the layer and of each array's partial product."""
    site = converted(layer)[0]
    data = [x] if compensation == "affine" else None
    at(layer, moment)
    with own_noise(int(site.crossbar.seed), moment):  # pyright: ignore[reportArgumentType]
        compensate(layer, compensation, data)  # pyright: ignore[reportArgumentType]
        total = _error(layer(x), x @ site.weight.T)
        if site.crossbar.geometry.partition.arrays == 1:
            return total, np.array([[total]])
        return total, _by_array(site, x)


def _error(y: Tensor, exact: Tensor) -> float:
    size = float(exact.double().norm())
    if not size:
        raise DataError("the exact product of an array is zero: use other weights, or more inputs.")
    return float((y - exact).double().norm()) / size


@dataclass(frozen=True)
class _Apart(Dense):
    """A dense product whose arrays' partial sums stay apart: (row-slices, vectors, out)."""

    def combine(self, y: Tensor, like: Tensor) -> Tensor:
        """Add the weight slices only."""
        y = y if self.parts > 1 else y.unsqueeze(0)
        return y.unflatten(-1, (self.slices, self.out)).sum(-2)


def _by_array(site: Site, x: Tensor) -> NDArray[np.float64]:
    """Return the relative error of each array's partial product, (row-slices, column-slices)."""
    crossbar, partition = site.crossbar, site.crossbar.geometry.partition
    apart = _Apart(crossbar.geometry.out, partition, crossbar.geometry.slices)
    plain = _Apart(apart.out, partition)
    y = mvm(x, crossbar.operand(site.weight), crossbar.hardware, apart)
    exact = plain.combine(plain.product(plain.split(x), site.weight), x)
    pairs = zip(y.split(partition.columns, -1), exact.split(partition.columns, -1), strict=True)
    errors = [[_error(a, e) for a, e in zip(part, whole, strict=True)] for part, whole in pairs]
    return np.array(errors).T
