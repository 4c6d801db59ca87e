"""Small models, hardware with every spread, and what makes a chip instance."""

import torch
from torch import nn

import mho
from mho.nn import sites

EVERY_SPREAD = mho.Hardware(
    cell={
        "kind": "pcm",
        "variability": {"gain": 0.05},
        "faults": {"at_zero": 0.01, "at_max": 0.01, "random": 0.01},
    },
    array={"rows": 20, "cols": 7, "polarity_spread": 0.02, "wires": "first_order"},
    dac={
        "bits": 8,
        "range": "calibrated",
        "scheme": {"kind": "positive_negative", "sum": "digital"},
        "gain_spread": 0.05,
        "offset_spread": 0.01,
    },
    adc={
        "bits": 8,
        "bound": 10.0,
        "transfer": {"kind": "compressive", "nonlinearity_spread": 0.3},
        "front_end": {"offset_spread": 0.01, "series_resistance": 0.01},
        "gain_spread": 0.05,
        "offset_spread": 0.01,
    },
    noise={"output": 0.04, "output_spread": 0.2, "read": {"kind": "pcm_read", "sigma": 0.0175}},
)
"""All that one chip instance has otherwise than another; arrays so small that there are several."""

PIXELS = 4 * torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(11)) - 2


def cnn(seed: int = 0) -> nn.Sequential:
    """A convolution of 9 rows and a linear layer of 75, which takes four arrays of 20 rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(75, 8)
        )


def converted(hardware=EVERY_SPREAD, seed: int = 0, batches=(PIXELS,)) -> nn.Sequential:
    """A converted model, calibrated on `batches` unless there is none."""
    model = cnn(seed)
    mho.convert(model, hardware)
    if batches:
        mho.calibrate(model, batches)
    return model


def chip(model: nn.Module) -> dict[str, torch.Tensor]:
    """Everything by which the chip instance of a programmed model computes, by name."""
    found = {}
    for site in sites(model):
        crossbar = site.crossbar
        parts = {key: getattr(crossbar, key) for key in ("programmed", "coefficient", "scale")}
        parts |= {"seed": crossbar.seed, "seconds": crossbar.seconds}
        now = crossbar._present
        parts |= {"weight": now.weight, "negative": now.negative, **now.columns._asdict()}
        found |= {f"{site.name}.{key}": value for key, value in parts.items() if value is not None}
    return found


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Two mappings of tensors are the same to the last bit, types included."""
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value.dtype == second[key].dtype, key
        assert torch.equal(value.cpu(), second[key].cpu()), key


def output(model: nn.Module, x: torch.Tensor = PIXELS, seed: int = 1) -> torch.Tensor:
    """The output with noise of a seed of its own; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return model(x)
