"""Batch-norm statistics of the arrays as they are, instead of those of the digital model."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import DataError, LifecycleError
from ._batches import Forward, run
from ._model import evaluating

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Recalibration:
    """The statistics that `mho.recalibrate_batch_norm` replaced, to be given back.

    As a context, it gives them back at the end:

        with mho.recalibrate_batch_norm(model, batches):
            accuracy = score(model)

    Attributes:
        batches: how many the new statistics come from.
        layers: names of the batch norms.
        unreached: names of those that never ran on the data; they keep the statistics they had.
    """

    def __init__(self, before: dict[str, "_Kept"], batches: int, unreached: tuple[str, ...]):
        self._before = before
        self.batches, self.unreached = batches, unreached
        self.layers = tuple(name for name in before if name not in unreached)

    def restore(self) -> None:
        """Put the statistics back that the model had before."""
        for kept in self._before.values():
            kept.restore()

    def __enter__(self) -> "Recalibration":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def __repr__(self) -> str:
        missed = f"; never ran: {', '.join(self.unreached)}" if self.unreached else ""
        return f"<Recalibration of {len(self.layers)} batch norms, {self.batches} batches{missed}>"


class _Kept:
    """The statistics of one batch norm."""

    def __init__(self, module: _BatchNorm) -> None:
        self.module, self.momentum = module, module.momentum
        self.values: dict[str, Tensor] = {
            name: getattr(module, name).clone() for name in STATISTICS
        }

    def restore(self) -> None:
        """Put them back, into the same tensors."""
        for name, value in self.values.items():
            getattr(self.module, name).copy_(value)


def recalibrate_batch_norm(
    model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None
) -> Recalibration:
    """Estimate the running statistics of batch norm anew on the model as it now computes, in place.

    A batch norm whose statistics are those of the digital model passes on what the arrays of a chip
    get wrong about the mean and the gain of each channel. For inputs that are half-wave rectified
    Gaussians, m = 1/sqrt(2 pi) and s^2 = 1/2 - 1/(2 pi), a share m^2 / (m^2 + s^2) = 1/pi of the
    power of weight noise is such a constant offset, which new statistics take away. They are the
    plain average over the batches (`momentum=None` of torch); meanwhile only the batch norms are
    in training mode, so that dropout is off and the noise is that of evaluation.

    Statistics belong to a chip instance and its time: set the clock first, and call again after.
    The model keeps them until `restore()` of the result, or the end of a `with`.

    Args:
        model: any model; programmed, for the statistics of a chip instance.
        batches: tensors, mappings of keyword arguments, or tuples of arguments. One or two batches
            of some hundred samples are enough.
        forward: how to run a batch, `forward(model, batch)`, if none of the above fits.

    Raises:
        LifecycleError: no batch norm of the model keeps running statistics.
        DataError: no batch, or the new statistics are not finite. The old ones are back then.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    if not found:
        raise LifecycleError(
            "the model has no batch norm with running statistics: there is nothing to recalibrate."
        )
    before = {name: _Kept(module) for name, module in found.items()}
    try:
        count = _observe(model, found, batches, forward)
        unreached = tuple(n for n, module in found.items() if not _seen(module))
        for name in unreached:
            before[name].restore()
        _check(found)
    except BaseException:
        for kept in before.values():
            kept.restore()
        raise
    finally:
        for kept in before.values():
            kept.module.momentum = kept.momentum
    return Recalibration(before, count, unreached)


def _observe(
    model: nn.Module,
    found: dict[str, _BatchNorm],
    batches: Iterable[Any],
    forward: Forward | None,
) -> int:
    with evaluating(model):
        for module in found.values():
            module.reset_running_stats()
            module.momentum = None
            module.training = True
        return run(model, batches, forward, "recalibrating batch norm")


def _seen(module: _BatchNorm) -> bool:
    return module.num_batches_tracked is not None and int(module.num_batches_tracked) > 0


def _check(found: dict[str, _BatchNorm]) -> None:
    for name, module in found.items():
        for key in ("running_mean", "running_var"):
            if not torch.isfinite(getattr(module, key)).all():
                raise DataError(
                    f"{name}: the new {key} is not finite, so the old statistics are kept: look "
                    "for nan or inf in the batches, and give more than one value per channel."
                )
