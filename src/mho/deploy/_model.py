"""Walking over a converted model: its crossbars, its stage, and isolated noise."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..circuits import Float
from ..errors import LifecycleError
from ..nn import Crossbar, Site, converted


def programmed(model: nn.Module, verb: str) -> list[Site]:
    """Return the weight matrices on arrays, all of them programmed, or an error."""
    found = converted(model)
    missing = [site.name for site in found if not site.crossbar.is_programmed]
    if missing:
        raise LifecycleError(
            f"mho.{verb} needs a chip instance, but {missing[0]} is not programmed: "
            "call mho.program(model, seed=...) first."
        )
    return found


@contextmanager
def own_noise(*key: object) -> Iterator[None]:
    """Let torch's generators give noise that is a function of `key` alone, and then restore them.

    Results become independent of what was drawn before and in which process, and the caller's
    random numbers go on as if nothing had happened.
    """
    digest = hashlib.blake2b("\x1f".join(map(repr, key)).encode(), digest_size=8).digest()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.random.manual_seed(int.from_bytes(digest, "little") >> 1)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode for a while."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def exact_products(model: nn.Module, names: Collection[str] | None = None) -> Iterator[None]:
    """Let every crossbar, or those of the named weights, multiply exactly for a while."""
    matrices = converted(model)
    found = [site.crossbar for site in matrices if names is None or site.name in names]
    before = [crossbar.observer for crossbar in found]
    for crossbar in found:
        crossbar.observer = _ignore
    try:
        yield
    finally:
        for crossbar, observer in zip(found, before, strict=True):
            crossbar.observer = observer


def _ignore(crossbar: Crossbar, x: Tensor, weight: Tensor) -> None:
    """An observer that does not look."""


@contextmanager
def native_digital(model: nn.Module) -> Iterator[None]:
    """Let digital units compute as the model does for a while: converters are read as they are."""
    found = [site.crossbar for site in converted(model)]
    before = [crossbar.hardware for crossbar in found]
    for crossbar in found:
        crossbar.hardware = crossbar.hardware.with_fields(digital=Float())
    try:
        yield
    finally:
        for crossbar, hardware in zip(found, before, strict=True):
            crossbar.hardware = hardware


@contextmanager
def kept_chip(model: nn.Module) -> Iterator[None]:
    """Bring back, at the end, the chip instance, time and corrections of the beginning."""
    found = [site.crossbar for site in converted(model)]
    before = [crossbar.chip_state() for crossbar in found]
    try:
        yield
    finally:
        for crossbar, state in zip(found, before, strict=True):
            crossbar.set_chip_state(state)
