"""Chips and models that the tests share."""

from typing import Any

import torch
import yaml
from torch import nn

import mho
from mho.chip import Chip

SOURCE = "a number for this test"


def constant(value: float, unit: str, **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "source": SOURCE, "factor": 2.0, **more}


def fields() -> dict[str, Any]:
    """A small chip of round numbers: a product takes 100 ns, a bit 0.1 ns, a hop 1 ns."""
    unit = {
        "lanes": 1,
        "clock": constant(1, "GHz"),
        "multiply": constant(1, "pJ"),
        "add": constant(0.5, "pJ"),
    }
    return {
        "node": "14 nm",
        "hardware": {
            "array": {"rows": 16, "cols": 8},
            "dac": {"bits": 8, "range": {"kind": "fixed", "value": 1.0}},
            "adc": {"bits": 8, "bound": 10.0},
        },
        "core": {
            "count": 16,
            "timing": {"kind": "amplitude", "settle": constant(100, "ns")},
            "row_energy": constant(2, "pJ"),
            "cell": constant(0.1, "pJ"),
            "other": constant(5, "pJ"),
            "converters": {"energy": constant(3, "pJ")},
            "local": unit,
        },
        "digital": {**unit, "lanes": 4},
        "links": {
            "channels": 64,
            "bandwidth": constant(10, "Gbit/s"),
            "energy": constant(0.05, "pJ/bit"),
            "latency": constant(1, "ns"),
        },
        "memory": {
            "capacity": 1_000_000,
            "ports": 8,
            "bandwidth": constant(1000, "Gbit/s"),
            "read": constant(0.1, "pJ/bit"),
            "write": constant(0.2, "pJ/bit"),
        },
    }


def chip(**changes: Any) -> Chip:
    """Return that chip with some dotted paths changed."""
    return mho.override(Chip(**fields()), {p.replace("__", "."): v for p, v in changes.items()})


def chip_file(path: Any, **parts: Any) -> Any:
    """Write that chip as a file."""
    path.write_text(yaml.safe_dump({"schema": 1, **fields(), **parts}), encoding="utf8")
    return path


def seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = block(channels, channels), block(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.first(x))


def block(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


def resnet9(widths: tuple[int, int, int, int] = (64, 128, 192, 224)) -> nn.Module:
    """A ResNet-9 for images of 32 x 32, with 1.88 million weights."""
    a, b, c, d = widths
    return seeded(
        lambda: nn.Sequential(
            block(3, a),
            block(a, b, True),
            Residual(b),
            block(b, c, True),
            block(c, d, True),
            Residual(d),
            nn.MaxPool2d(4),
            nn.Flatten(),
            nn.Linear(d, 10, bias=False),
        )
    )
