"""The peers, set up with the same effects as mho. Import them only where `installed` names them.

Known differences that remain: aihwkit and aihwkit-lightning unfold convolutions; aihwkit counts
2^bits - 2 steps per converter; aihwkit-lightning refers the ADC bound to the largest weight of a
tile instead of a column, splits only the inputs of a layer over arrays, and draws output noise in
training mode only, so that it is timed in training mode when there is noise.
"""

import contextlib
import io
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor, nn, no_grad

from .contenders import ADC_BOUND, ARRAY, OUTPUT_NOISE, Contender

STEPS = 2**8 - 2
PEERS = ("aihwkit", "aihwkit-lightning")


def installed() -> dict[str, str]:
    """Versions of the peers that this environment has."""
    found = {}
    for name in PEERS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def aihwkit(noise: float = OUTPUT_NOISE, torch_tile: bool = False) -> Contender:
    """Return aihwkit's inference tile (C++), or its tile written in PyTorch."""

    def build(model: nn.Module, batch: Tensor) -> nn.Module:
        from aihwkit.nn.conversion import convert_to_analog
        from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig

        config = TorchInferenceRPUConfig() if torch_tile else InferenceRPUConfig()
        set_same_effects(config, noise)
        return convert_to_analog(model, config).eval()

    tile = "TorchInferenceTile" if torch_tile else "InferenceTile"
    return Contender(f"aihwkit {tile}, {_effects(noise)}", build)


def aihwkit_standard() -> Contender:
    """Return aihwkit's StandardHWATrainingPreset, input ranges set by one training-mode pass."""

    def build(model: nn.Module, batch: Tensor) -> nn.Module:
        from aihwkit.nn.conversion import convert_to_analog
        from aihwkit.simulator.presets import StandardHWATrainingPreset

        analog = convert_to_analog(model, StandardHWATrainingPreset()).train()
        with no_grad():
            analog(batch)
        return analog.eval()

    return Contender("aihwkit StandardHWATrainingPreset", build)


def lightning(noise: float = OUTPUT_NOISE) -> Contender:
    """Return aihwkit-lightning, whose output noise acts in training mode only."""

    def build(model: nn.Module, batch: Tensor) -> nn.Module:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints on import that it has no GPU
            from aihwkit_lightning.nn.conversion import convert_to_analog

        config = lightning_config(noise)
        return convert_to_analog(model, config).train(noise > 0)

    return Contender(f"aihwkit-lightning, {_effects(noise)}", build)


def lightning_config(noise: float) -> Any:
    """Return a configuration of aihwkit-lightning with the effects that mho is timed with."""
    with contextlib.redirect_stdout(io.StringIO()):
        from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig

    config = TorchInferenceRPUConfig()
    config.mapping.max_input_size = ARRAY
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_value = 1.0
    config.pre_post.input_range.init_from_data = 0
    config.forward.inp_res = STEPS
    config.forward.out_res = STEPS
    config.forward.out_bound = ADC_BOUND
    config.forward.out_noise = noise
    config.forward.out_noise_per_channel = True
    return config


def set_same_effects(config: Any, noise: float) -> None:
    """Give a configuration of aihwkit the effects that mho is timed with."""
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    config.forward.inp_bound = 1.0
    config.forward.inp_res = STEPS
    config.forward.out_res = STEPS
    config.forward.out_bound = ADC_BOUND
    config.forward.out_noise = noise
    config.forward.bound_management = BoundManagementType.NONE
    config.forward.noise_management = NoiseManagementType.NONE
    config.mapping.max_input_size = ARRAY
    config.mapping.max_output_size = ARRAY
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True


def _effects(noise: float) -> str:
    return "DAC, ADC, output noise" if noise else "DAC, ADC"
