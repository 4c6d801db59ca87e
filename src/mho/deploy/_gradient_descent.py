"""Gradient-descent programming: cells are corrected by the errors of the arrays' own products."""

import math
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Dense, Programmed, column_outputs, spread_over_rows
from ._model import own_noise
from ._one_shot import OneShot
from ._progress import progress
from ._writing import PulsedMethod, Writing, while_written

VECTORS_PER_ROW = 4


class GradientDescent(PulsedMethod):
    """Cells are pulsed along the gradient of the error of products with random inputs.

    Round k, for every array: X is a batch of B random vectors, Y the array's products through its
    drivers, cells, noise and converters, and with the mean E_mean over the batch

        E = Y - X W^T,   G_ij = sum_b (E - E_mean)_bi x_bj / sum_b x_bj^2

    is the gradient of |E|^2 in units of weight, an estimate of (weight - target) of cell ij with
    the variance q_ij = mean_b (E - E_mean)_bi^2 / sum_b x_bj^2. Products of a column that were at
    its converter's bound are left out of the sums; where none is left, nothing is known, and the
    cells count as outside. Estimates of all rounds since the cell's last pulse are averaged with
    the weights 1 / q. Where

        |G| > max(threshold, significance sqrt(q))

    the cell gets one pulse, whose amplitude moves it by -a_k G, a_k = approach anneal^(k / rounds),
    on the positive or on the negative device, whichever holds that weight. The loop ends after
    `iterations` rounds, or when no estimate is above the threshold.

    The codes of all converters become weights by the one scale of the hardware; the gain of each
    column's own converter is made up for by its cells, and its offset, which no weight can make up
    for, drops out. So the cells themselves may be farther from their targets than after write and
    verify while the products are nearer to theirs, and converters that are too coarse for a single
    cell do. What acts on products only (drivers, wires, the transfer curve) is corrected as well,
    as far as cells can. 1/f noise that cells gather after programming is not seen.

    Source: J. Buechel et al., IEDM 2022, "Gradient descent-based programming of analog in-memory
    computing cores" (arXiv 2305.16647), for the principle: random inputs, the outer product of
    errors and inputs, single pulses by its magnitude. Batch size, law of amplitudes and thresholds
    are not published in numbers: the test of significance and the averages are ours, as are
    all defaults.
    """

    kind: Literal["gradient_descent"] = "gradient_descent"
    pulse: OneShot | None = Field(
        default=OneShot(),
        description="Pulses that set a conductance at once. None: identical pulses, as many as "
        "cover the distance, which the cell's device answers.",
    )
    batch: int | None = Field(
        default=None, ge=2, strict=True,
        description="Random vectors in each round. None: four for each row of the largest array.",
    )  # fmt: skip
    inputs: Literal["uniform", "gaussian"] = Field(
        default="uniform",
        description="Law of the inputs: uniform within +-amplitude, or Gaussian with it at three "
        "standard deviations and limited there.",
    )
    amplitude: float = Field(
        default=1.0, gt=0, le=1,
        description="Largest input, relative to the input range. Where ADCs saturate, lower it: "
        "what they say then tells nothing.",
    )  # fmt: skip
    threshold: float = Field(
        default=0.02, gt=0, lt=1,
        description="Smallest estimated error that is pulsed, in units of full scale. Below the "
        "error of a pulse, but cells that are pulsed for less than that mostly get worse.",
    )  # fmt: skip
    significance: float = Field(
        default=2.0, ge=0,
        description="Smallest estimated error that is pulsed, in its own standard errors.",
    )  # fmt: skip
    anneal: float = Field(
        default=1.0, gt=0, le=1,
        description="What is left of `approach` at the end; it falls geometrically.",
    )  # fmt: skip

    def write(self, weight: Tensor, crossbar: Crossbar, stream: Stream) -> tuple[Programmed, Any]:
        """See `ProgrammingMethod.write`."""
        writing = Writing(self, weight, crossbar, stream, self.threshold)
        products = _Products(self, weight, writing)
        total = torch.zeros_like(writing.target)
        precision = torch.zeros_like(total)
        missed: list[float] = []
        for number in progress(range(self.iterations + 1), f"writing {stream.tile}"):
            found = products.measure(number)
            missed.append(found.error)
            total, precision = total + found.gradient * found.precision, precision + found.precision
            estimate = total / precision.clamp(min=torch.finfo(precision.dtype).tiny)
            large = (estimate.abs() > self.threshold) | (precision == 0)
            chosen = large & (estimate.abs() * precision.sqrt() > self.significance)
            writing.note(large)
            if number == self.iterations or not bool(large.any()):
                break
            share = self.approach * self.anneal ** (number / self.iterations)
            writing.pulse(torch.where(chosen, -estimate, 0.0), share)
            total, precision = (t.masked_fill(chosen, 0.0) for t in (total, precision))
        reads = products.batch * len(missed)
        return writing.done(), writing.report(reads, product_errors=tuple(missed))


class _Measured(NamedTuple):
    """Estimated errors of the cells in units of full scale, 1 / variance, and the products'."""

    gradient: Tensor
    precision: Tensor
    error: float


class _Products:
    """Products of random inputs with the arrays of a chip instance that is being written."""

    def __init__(self, method: GradientDescent, weight: Tensor, writing: Writing) -> None:
        self.method, self.writing, crossbar = method, writing, writing.crossbar
        geometry = crossbar.geometry
        self.weight = weight.detach().to("cpu", torch.float32)
        self.hardware = while_written(crossbar.hardware)
        self.batch = method.batch or VECTORS_PER_ROW * max(geometry.partition.rows)
        self.flat = Dense(geometry.out, geometry.partition)
        self.sizes = list(geometry.partition.rows)
        self.full_scale = crossbar.full_scale().cpu()
        # A crossbar of its own: the model's keeps its chip instance until the new one is complete.
        self.trial = Crossbar(self.hardware, geometry, crossbar.name)
        self.trial.input_range = _copied(crossbar.input_range)
        self.trial.output_bound = _copied(crossbar.output_bound)
        self.trial.scale = writing.scale

    @torch.no_grad()
    def measure(self, number: int) -> _Measured:
        """Multiply a new batch and compare."""
        writing, stream = self.writing, self.writing.stream
        x = self._inputs(number)
        g = writing.cells.conductance
        now = writing.present(g, self.hardware)
        self.trial.set_chip_state({"programmed": g, "_present": now})
        operand = self.trial.operand(self.weight)
        with own_noise(stream.seed, stream.tile, "gradient descent", number):
            y, inside = column_outputs(x, operand, self.hardware, self.flat)
        pieces = zip(*(t.split(self.sizes, dim=1) for t in (x, self.weight)), strict=True)
        exact = torch.stack([v @ w.T for v, w in pieces], dim=1)  # (B, row-slices, out), as y
        e, size = y - exact, float(exact.sum(1).norm())
        error = float(e.sum(1).norm()) / size if size else math.nan  # a matrix of zeros
        return _Measured(*self._estimate(e, inside, x), error)

    def _estimate(self, e: Tensor, inside: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient and the precision of each cell, in units of full scale."""
        kept = inside.to(e.dtype)
        count = kept.sum(0).clamp(min=1.0)
        e = kept * (e - (kept * e).sum(0) / count)
        parts = list(enumerate(x.split(self.sizes, dim=1)))
        moment = torch.cat([e[:, p].T @ v for p, v in parts], dim=1)
        squares = torch.cat([kept[:, p].T @ v.square() for p, v in parts], dim=1)
        squares = squares.clamp(min=torch.finfo(e.dtype).tiny)
        variance = spread_over_rows(e.square().sum(0) / count, self.flat) / squares
        unit = self.writing.per_cell
        # Where products are exact, the variance is 0: what is known of them is then no less.
        precision = unit.square() / variance.clamp(min=1e-12 * unit.square())
        # A single product is all mean, and none at all has no error either.
        known = spread_over_rows(count, self.flat) > 1
        return moment / squares / unit, precision.where(known, torch.zeros(()))

    def _inputs(self, number: int) -> Tensor:
        shape, stream = (self.batch, self.flat.rows), self.writing.stream
        if self.method.inputs == "gaussian":
            u = (stream.normal("gradient descent", shape, number) / 3).clamp(-1.0, 1.0)
        else:
            u = 2 * stream.uniform("gradient descent", shape, number) - 1
        return u * (self.method.amplitude * self.full_scale)


def _copied(value: Tensor | None) -> Any:
    """Return what calibration found, on the CPU, as the kind of attribute that it was."""
    if value is None:
        return None
    copy = getattr(value, "full_tensor", lambda: value)().detach().float().cpu()
    return nn.Parameter(copy, requires_grad=False) if isinstance(value, nn.Parameter) else copy
