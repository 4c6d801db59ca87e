"""Training in memory: the pulsed update of one array, and whole training steps.

The peer is aihwkit with the same devices, trains of 31 slots with update and slot management, and
converters of its presets. In a mini-batch, aihwkit takes the vectors one after the other, and its
Tiki-Taka counts transfers in vectors; mho takes the mini-batch as one update.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from . import models

Step = Callable[[], object]
SIDE, BATCH, SLOTS = 512, 64, 31
STEP, BOUND = 0.002, 0.6
RATE = 0.1  # with inputs up to 1 and errors up to 0.4, most of the slots are needed
LEARNING_RATE = 0.05


@dataclass(frozen=True)
class Pulsed:
    """A way to update or train; `make` returns what is timed."""

    name: str
    make: Callable[[], Step]


def _vectors() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(BATCH, SIDE), 0.1 * torch.randn(BATCH, SIDE)


def update(fidelity: str) -> Pulsed:
    """Return mho's update of soft-bounds devices."""

    def make() -> Step:
        from mho.cells import SoftBounds
        from mho.ops import Stream
        from mho.tiles import DeviceArray, Pulses, Samples

        device = SoftBounds(
            step=STEP, low=-BOUND, high=BOUND, step_spread=0.3, cycle_noise=0.3,
            low_spread=0.3, high_spread=0.3,
        )  # fmt: skip
        array = DeviceArray(device, (SIDE, SIDE), Stream(0, "benchmark"))
        samples, pulses = Samples.of(*_vectors()), Pulses(slots=SLOTS, fidelity=fidelity)  # pyright: ignore[reportArgumentType]
        return lambda: array.update(samples, RATE, pulses)

    return Pulsed(f"mho, {fidelity}", make)


def peer_update() -> Pulsed:
    """Return aihwkit's."""

    def make() -> Step:
        from aihwkit.simulator.configs import SingleRPUConfig, SoftBoundsDevice
        from aihwkit.simulator.tiles.analog import AnalogTile

        device = SoftBoundsDevice(
            dw_min=STEP, w_min=-BOUND, w_max=BOUND, dw_min_dtod=0.3, dw_min_std=0.3,
            w_min_dtod=0.3, w_max_dtod=0.3, up_down_dtod=0.0,
        )  # fmt: skip
        config = SingleRPUConfig(device=device)
        config.update.desired_bl = SLOTS
        tile = AnalogTile(SIDE, SIDE, config)
        tile.set_learning_rate(RATE)
        x, d = _vectors()
        return lambda: tile.update(x, d)

    return Pulsed("aihwkit, update", make)


def lenet() -> tuple[nn.Module, torch.Tensor]:
    """LeNet and a batch of images."""
    model, batch = models.lenet()
    return model.train(), batch


def small() -> tuple[nn.Module, torch.Tensor]:
    """A convolution and a linear layer of a few weights."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    return model, torch.rand(4, 1, 4, 4)


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    """The perceptron 784-256-128-10 with sigmoids, and a batch of flat images."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 256), nn.Sigmoid(), nn.Linear(256, 128), nn.Sigmoid(), nn.Linear(128, 10)
    )
    return model, torch.rand(BATCH, 784)


Network = Callable[[], tuple[nn.Module, torch.Tensor]]


def _loop(model: nn.Module, batch: torch.Tensor, optimizer: Any) -> Step:
    labels = torch.arange(len(batch)) % model(batch).shape[1]

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()

    return run


def plain(network: Network) -> Pulsed:
    """Return digital training."""

    def make() -> Step:
        model, batch = network()
        return _loop(model, batch, torch.optim.SGD(model.parameters(), lr=LEARNING_RATE))

    return Pulsed("plain torch", make)


def trained(network: Network, algorithm: str) -> Pulsed:
    """Return mho's training with the devices and converters of idealized-2019."""

    def make() -> Step:
        import mho

        model, batch = network()
        mho.convert(model, mho.load("idealized-2019"))
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        mho.attach(optimizer, model, getattr(mho, algorithm)())
        return _loop(model, batch, optimizer)

    return Pulsed(f"mho, {algorithm}", make)


def peer_trained(network: Network, preset: str) -> Pulsed:
    """Return aihwkit's training with a preset of its own."""

    def make() -> Step:
        from aihwkit.nn.conversion import convert_to_analog
        from aihwkit.optim import AnalogSGD
        from aihwkit.simulator import presets

        model, batch = network()
        config = getattr(presets, preset)()
        config.mapping.max_input_size = config.mapping.max_output_size = SIDE
        analog = convert_to_analog(model, config).train()
        optimizer = AnalogSGD(analog.parameters(), lr=LEARNING_RATE)
        optimizer.regroup_param_groups()
        return _loop(analog, batch, optimizer)

    return Pulsed(f"aihwkit, {preset}", make)
