"""Arrays in training that are left alone for a time."""

import torch

from ..errors import LifecycleError, SpecError
from ..spec import seconds
from ._algorithm import Algorithm
from ._layers import Layer, check_unchanged, write


@torch.no_grad()
def rest(layers: list[Layer], algorithm: Algorithm, time: str | float) -> None:
    """Let the cells of all arrays drift; see `Attached.rest`."""
    duration = seconds(time)
    for layer in layers:
        _check(layer)
    # All or nothing: a law that refuses the time leaves every array as it was.
    arrays = [(layer, each) for layer in layers for each in layer.state.arrays.values()]
    later = []
    for layer, array in arrays:
        hardware = layer.site.crossbar.hardware
        later.append(array.rested(hardware.cell, hardware.mapping, duration))
    for (_, array), states in zip(arrays, later, strict=True):
        array.settle(states)
    for layer in layers:
        write(layer, algorithm.weight(layer.state))


def _check(layer: Layer) -> None:
    name, crossbar, recorder = layer.site.name, layer.site.crossbar, layer.recorder
    cell = crossbar.hardware.cell
    if crossbar.recorder is not recorder:
        raise LifecycleError(f"{name} is attached no more: its arrays were let go by `remove()`.")
    if layer.site.weight.is_meta:
        raise LifecycleError(f"{name} is on the meta device and has no values that could drift.")
    if crossbar.is_programmed:
        raise LifecycleError(
            f"{name} is programmed, so its time is that of the chip instance: call "
            "mho.at(model, time) for that one, or mho.erase(model) before the trained cells rest."
        )
    if recorder.records:
        raise LifecycleError(
            f"{name} has vectors that no step has used: let the arrays rest after "
            "optimizer.step(), or call `forget()`."
        )
    check_unchanged(layer)
    if not layer.state.arrays:
        raise SpecError(
            f"{name} is trained without devices, so nothing can drift: train with an algorithm of "
            "pulsed devices, such as mho.PulsedSGD(), and `cell: {device: ...}`."
        )
    if cell.drift is None:
        raise SpecError(
            f"{name}: the cell {cell.kind!r} has no drift law, so time changes nothing: give "  # pyright: ignore
            "`cell: {drift: ...}`, such as {kind: power_law, nu_mean: {kind: constant, "
            "value: 0.05}, nu_std: {kind: constant, value: 0.01}}."
        )
