"""Memory of a digital and of a converted model, each in a process of its own."""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from . import models
from .contenders import NOISY, PLAIN, Contender

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Bytes of a model's parameters and buffers, and how far the process rose above its imports.

    `built` is the resident memory once the model exists, `peak` its maximum over one forward pass
    as well; both are None where the system does not tell (it does on Linux).
    """

    tensors: int
    built: int | None
    peak: int | None


def tensor_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, every tensor counted once."""
    tensors = {t.data_ptr(): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def measure(converted: bool) -> Memory:
    """Memory of the large perceptron, digital or converted with DAC, ADC and output noise."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_here, (converted,))


def _measure_here(converted: bool) -> Memory:
    import mho  # both processes use it, for it to load what it loads late: only the model may differ

    mho.convert(nn.Linear(1, 1), mho.Hardware())

    contender: Contender = NOISY if converted else PLAIN
    before = _resident("VmRSS")
    model, batch = models.perceptron()
    model = contender.build(model, batch)
    built = _rise("VmRSS", before)
    with torch.inference_mode():
        model(batch)
    return Memory(tensor_bytes(model), built, _rise("VmHWM", before))


def _rise(field: str, before: int | None) -> int | None:
    now = _resident(field)
    return None if now is None or before is None else now - before


def _resident(field: str) -> int | None:
    """Bytes of resident memory now (VmRSS) or at its highest so far (VmHWM)."""
    if not _STATUS.exists():
        return None
    values = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(values[field].split()[0]) * 1024
