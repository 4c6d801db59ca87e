"""Memory of a digital and of a converted model, each in a process of its own."""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from . import in_memory, models
from .contenders import NOISY, PLAIN
from .training import CONSTANT
from .training import PLAIN as TRAINED

_PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class Memory:
    """Bytes of a model, and by how much the process rose above what it held without one.

    Attributes:
        tensors: parameters and buffers.
        resident: resident memory once the model is ready.
        building: its peak until then.
        forward: its peak over one forward pass.
    """

    tensors: int
    resident: int
    building: int
    forward: int


def tensor_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, every tensor counted once."""
    tensors = {t.data_ptr(): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def told_here() -> bool:
    """Whether this system tells a process its peak and lets it start a new one, as Linux does."""
    return (_PROCESS / "clear_refs").exists()


def measure(converted: bool) -> Memory:
    """Memory of the large perceptron, digital or converted with DAC, ADC and output noise."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_here, (converted,))


def _measure_here(converted: bool) -> Memory:
    for make in (
        PLAIN,
        NOISY,
    ):  # both processes load what is loaded late: only the model may differ
        small, batch = models.square_linear(8)
        with torch.inference_mode():
            make.build(small, batch)(batch)
    before = _bytes("VmRSS")
    model, batch = models.perceptron()
    _restart_peak()
    model = (NOISY if converted else PLAIN).build(model, batch)
    building, resident = _bytes("VmHWM") - before, _bytes("VmRSS") - before
    _restart_peak()
    with torch.inference_mode():
        model(batch)
    return Memory(tensor_bytes(model), resident, building, _bytes("VmHWM") - before)


def measure_training(adapted: bool) -> int:
    """Peak resident memory of three training steps of the large perceptron, above an empty one."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_training_here, (adapted,))


def _training_here(adapted: bool) -> int:
    way = CONSTANT if adapted else TRAINED
    for make in (TRAINED, CONSTANT):
        small, batch = models.square_linear(8)
        make.step(small, batch)()
    before = _bytes("VmRSS")
    model, batch = models.perceptron()
    model, optimizer = way.build(model.train(), batch, torch.optim.Adam)
    labels = torch.arange(len(batch))
    _restart_peak()
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()
    return _bytes("VmHWM") - before


def measure_in_memory(who: str, what: str = "") -> int:
    """Peak resident memory of three steps of the LeNet in memory, above an empty process.

    Args:
        who: plain, mho or aihwkit.
        what: mho's algorithm, or aihwkit's preset.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_in_memory_here, (who, what))


def _in_memory_here(who: str, what: str) -> int:
    make = {
        "plain": lambda network: in_memory.plain(network),
        "mho": lambda network: in_memory.trained(network, what),
        "aihwkit": lambda network: in_memory.peer_trained(network, what),
    }[who]
    make(in_memory.small).make()()  # loads and compiles what is loaded and compiled late
    before = _bytes("VmRSS")
    _restart_peak()
    step = make(in_memory.lenet).make()
    for _ in range(3):
        step()
    return _bytes("VmHWM") - before


def _restart_peak() -> None:
    """Set VmHWM, the highest resident memory so far, to the present one (man 5 proc)."""
    (_PROCESS / "clear_refs").write_text("5")


def _bytes(field: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[field].split()[0]) * 1024
