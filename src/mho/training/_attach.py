"""The verb that trains a model on its arrays."""

from typing import Any

import torch
from torch import nn

from ..errors import DataError, RangeError, SpecError
from ..nn import Recorder, Site
from ..ops import Stream, all_finite
from ..tiles import Backward, Pulses, ReadOut, check_backward
from ._algorithm import Algorithm
from ._attached import Attached
from ._exact import Exact
from ._layers import (
    Layer,
    Where,
    check_optimizer,
    check_sites,
    chosen,
    groups_of,
    learning_rate,
    scale_for,
)
from ._parallel import parallel_of
from ._state import Matrix


def attach(
    optimizer: Any,
    model: nn.Module,
    algorithm: Algorithm,
    *,
    pulses: Pulses | None = None,
    read_out: ReadOut | None = None,
    backward: Backward | None = None,
    where: Where | None = None,
    seed: int = 0,
    scale: float | None = None,
    fill: float = 0.3,
    largest_error: float | None = None,
    scaler: Any = None,
) -> Attached:
    """Train the analog layers of a converted model on their arrays. The loop stays as it is.

    From now on a backward pass in training mode gives analog weights no gradient, but their inputs
    x and errors d; each step of the optimizer turns those into pulses, with the learning rate that
    the weight's group has just then, and writes what the arrays show into the Parameter. All other
    Parameters go on as usual. The weights are written into the arrays here: W = scale w.

    Rules:

    - *Groups.* A weight that the optimizer does not hold is left alone. A group that holds analog
      weights may have no momentum, weight decay or `maximize`. Adaptive optimizers, such as Adam,
      adapt digital Parameters only: pulses have the plain learning rate of their group.
    - *Accumulation.* Vectors of several backward passes gather until the step, as gradients do.
      `optimizer.zero_grad()` does not know of them: after a backward pass that no step shall
      follow, call `forget()`.
    - *Reuse.* A weight that is used several times in one forward pass, by a recurrent layer or by
      tied layers on the same arrays, gets the pulses of all uses.
    - *Frozen weights* (`requires_grad` false) and a learning rate of zero: no pulses. Cells that
      decay or diffuse do so at every step all the same.
    - *Clipping.* `clip_grad_norm_` sees no analog gradients, since they are never computed;
      `largest_error` limits the vectors d instead.
    - *Mixed precision.* Give the `GradScaler`, and errors are divided by its scale; what belongs to
      a step that it skipped is dropped.
    - *Data parallelism.* Wrap the model into DDP, and attach to what that returns. Each process
      brings its part of the mini-batch, and its errors count one over their number; coincidences
      are added up, so that all copies of the arrays stay the same.
    - *Closures* are called once, before the pulses. Optimizers that call them again, such as LBFGS,
      are refused.

    Args:
        optimizer: any torch optimizer, or Accelerate's wrapper of one.
        model: a converted model that is not programmed.
        algorithm: what to do.
        pulses: how gradients become pulses.
        read_out: how transfers read columns; by default as the hardware's converters and noise do.
        backward: converters and noise by which errors go back through the arrays. None: exactly, as
            far as inputs and outputs were inside of their converters' ranges.
        where: which analog layers to train in memory, such as `mho.linear`; the others go on as
            digital weights do.
        seed: of the cells and of all draws.
        scale: weight that a relative weight of 1 stands for, the same for all layers. By default
            each layer has its own, from `fill`.
        fill: part of the mean cell's bound at which a layer's largest |W| begins.
        largest_error: vectors d with a larger max|d| are scaled down to it.
        scaler: the `torch.amp.GradScaler` of the loop, if there is one.

    Raises:
        SpecError: the optimizer cannot be followed, or nobody says what the cells are.
        LifecycleError: the model is not converted, or is programmed, adapted or attached already.
        ConversionError: a weight is used where its arrays are not.
        DataError: a weight is not finite.
    """
    if not isinstance(algorithm, Algorithm):
        raise SpecError(f"algorithm must be such as mho.TikiTaka(), got {algorithm!r}.")
    for name, value in (("scale", scale), ("fill", fill), ("largest_error", largest_error)):
        if value is not None and not 0 < value < float("inf"):
            raise RangeError(f"{name}={value!r} must be positive and finite.")
    if fill > 1:
        raise RangeError(f"fill={fill!r} is a part of the bound: give 0 < fill <= 1, such as 0.3.")
    plain = check_optimizer(optimizer)
    groups = groups_of(plain)
    found = [site for site in chosen(model, where) if id(site.weight) in groups]
    if not found:
        raise SpecError(
            "the optimizer holds none of the analog weights: make it with model.parameters() "
            "after mho.convert, or give it those weights."
        )
    check_sites(model, found)
    for site in found:
        check_backward(backward, site.crossbar.hardware)
        learning_rate(groups[id(site.weight)], site.name)
        if not all_finite(site.weight):
            raise DataError(f"{site.name} has values that are not finite; nothing was attached.")
    layers, parallel = [], parallel_of(model)
    for site in found:
        given = scale or _scale(site, algorithm, fill)
        matrix = _matrix(site, given, seed, pulses or Pulses(), read_out)
        layers.append(_layer(site, matrix, algorithm))
        layers[-1].state.parallel = parallel
        layers[-1].recorder.backward = backward
    return Attached(plain, layers, algorithm, seed, largest_error, scaler)


def _scale(site: Site, algorithm: Algorithm, fill: float) -> float:
    mapping = site.crossbar.hardware.mapping
    if mapping.w_max is not None:
        return mapping.w_max
    device = None if isinstance(algorithm, Exact) else site.crossbar.hardware.cell.device
    return scale_for(site.matrix, device, fill)


def _matrix(
    site: Site, scale: float, seed: int, pulses: Pulses, read_out: ReadOut | None
) -> Matrix:
    hardware, geometry = site.crossbar.hardware, site.crossbar.geometry
    return Matrix(
        name=site.name,
        device=hardware.cell.device,
        shape=(geometry.out, geometry.rows),
        stream=Stream(seed, site.crossbar.name),
        scale=scale,
        pulses=pulses,
        read_out=read_out or ReadOut.of(hardware),
        place=site.weight.device,
    )


@torch.no_grad()
def _layer(site: Site, matrix: Matrix, algorithm: Algorithm) -> Layer:
    crossbar = site.crossbar
    rule = crossbar.hardware.dac.range
    limit = None if rule is None or rule.dynamic else crossbar.full_scale
    recorder = Recorder(crossbar.geometry, matrix.scale, limit)
    return Layer(site, recorder, algorithm.start(matrix, site.matrix.float() / matrix.scale))
