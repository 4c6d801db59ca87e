"""Steps of hardware-aware training, against digital training and against the peers.

Everybody trains with the same effects: Gaussian noise of 3 % of the largest weight of a column (of
a tile in aihwkit, which knows no other) redrawn for every step, 8-bit converters, output noise, and
weights clipped after the step. Input ranges are constants, or learned from their clipped inputs.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contenders import ADC, ALL, ARRAY, DAC, OUTPUT_NOISE
from .peers import lightning_config, set_same_effects

Step = Callable[[], object]
Make = Callable[..., torch.optim.Optimizer]
WEIGHT_NOISE = 0.03
CLIP = 2.5
LEARNING_RATE = 1e-4
LEARNED = ALL | {"dac": {"bits": 8, "range": "learned"}}


@dataclass(frozen=True)
class Training:
    """A way to train a digital model; `build` may change the model that it is given."""

    name: str
    build: Callable[[nn.Module, Tensor, Make], tuple[nn.Module, Any]]

    def step(self, model: nn.Module, batch: Tensor) -> Step:
        """One step of a classifier with its optimizer."""
        model, optimizer = self.build(model.train(), batch, torch.optim.SGD)
        labels = torch.arange(len(batch)) % model(batch).shape[1]

        def run() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels).backward()
            optimizer.step()

        return run

    def pass_through(self, model: nn.Module, batch: Tensor) -> Step:
        """Forward and backward of a layer in the midst of a network: its input has a gradient."""
        model, _ = self.build(model.train(), batch, torch.optim.SGD)
        x = batch.clone().requires_grad_()
        gradient = torch.ones_like(model(x)) / batch.numel()

        def run() -> None:
            model.zero_grad()
            x.grad = None
            model(x).backward(gradient)

        return run


def _plain(model: nn.Module, batch: Tensor, make: Make) -> tuple[nn.Module, Any]:
    return model, make(model.parameters(), lr=LEARNING_RATE)


PLAIN = Training("plain torch", _plain)


def mho_training(name: str, effects: dict[str, Any], side: int | None = ARRAY) -> Training:
    """Return mho's training with the given fields of a Hardware."""

    def build(model: nn.Module, batch: Tensor, make: Make) -> tuple[nn.Module, Any]:
        import mho

        mho.convert(model, mho.Hardware(array={"rows": side, "cols": side}, **effects))
        learns = effects["dac"]["range"] == "learned"
        if learns:
            mho.calibrate(model, [batch], method="moving_std")
        optimizer = make(model.parameters(), lr=LEARNING_RATE)
        adaptation = mho.Adaptation(
            noise=mho.AdditiveNoise(std=WEIGHT_NOISE),
            clip={"kind": "column", "sigma": CLIP},
            range_decay={} if learns else None,
        )
        mho.adapt(model, adaptation, optimizer)
        return model.train(), optimizer

    return Training(f"mho, {name}", build)


QUIET = mho_training("weight noise, DAC, ADC", {"dac": DAC, "adc": ADC})
CONSTANT = mho_training("the same with output noise", ALL)
LEARNING = mho_training("the same with learned ranges", LEARNED)
ONE_ARRAY = mho_training("constant ranges, output noise", ALL, side=None)
ONE_ARRAY_LEARNING = mho_training("learned ranges, output noise", LEARNED, side=None)


def aihwkit(learned: bool) -> Training:
    """Return aihwkit's tile written in PyTorch, which is the one that trains like this."""

    def build(model: nn.Module, batch: Tensor, make: Make) -> tuple[nn.Module, Any]:
        from aihwkit.nn.conversion import convert_to_analog
        from aihwkit.optim import AnalogSGD
        from aihwkit.simulator.configs import TorchInferenceRPUConfig
        from aihwkit.simulator.parameters.enums import WeightClipType, WeightModifierType

        config = TorchInferenceRPUConfig()
        set_same_effects(config, OUTPUT_NOISE)
        config.modifier.type = WeightModifierType.ADD_NORMAL
        config.modifier.std_dev = WEIGHT_NOISE
        config.clip.type = WeightClipType.LAYER_GAUSSIAN
        config.clip.sigma = CLIP
        config.pre_post.input_range.enable = learned
        analog = convert_to_analog(model, config).train()
        optimizer = AnalogSGD(analog.parameters(), lr=LEARNING_RATE)
        optimizer.regroup_param_groups()
        return analog, optimizer

    ranges = "learned" if learned else "constant"
    return Training(f"aihwkit TorchInferenceTile, {ranges} ranges", build)


def lightning() -> Training:
    """Return aihwkit-lightning, untiled, with learned ranges."""

    def build(model: nn.Module, batch: Tensor, make: Make) -> tuple[nn.Module, Any]:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints on import that it has no GPU
            from aihwkit_lightning.nn.conversion import convert_to_analog
            from aihwkit_lightning.simulator.configs import WeightNoiseInjectionType

        config = lightning_config(OUTPUT_NOISE)
        config.mapping.max_input_size = -1
        config.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL_PER_CHANNEL
        config.modifier.std_dev = WEIGHT_NOISE
        analog = convert_to_analog(model, config).train()
        return analog, make(analog.parameters(), lr=LEARNING_RATE)

    return Training("aihwkit-lightning, learned ranges", build)
