"""Models of every kind of layer, and hardware of every kind of effect."""

import torch
from torch import nn

import mho
from chips import EVERY_SPREAD, PIXELS, cnn


class Mixed(nn.Module):
    """A transposed convolution, a recurrent layer, attention and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(2, 4, 3, stride=2, groups=2)
        self.rnn = nn.GRU(4, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 2, 1) -> (batch, 3, 2)."""
        y, _ = self.rnn(self.up(x).transpose(1, 2))
        y, _ = self.attention(y, y, y, need_weights=False)
        return self.head(y)


def mlp() -> nn.Sequential:
    """25 inputs, 8 outputs."""
    return nn.Sequential(nn.Flatten(), nn.Linear(25, 12), nn.GELU(), nn.Linear(12, 8))


INPUTS = {"cnn": PIXELS, "mlp": PIXELS, "mixed": PIXELS[:, 0, :2, :1]}
BUILDERS = {"cnn": cnn, "mlp": mlp, "mixed": Mixed}

HARDWARE = {
    "standard": mho.load("standard-hwa-2023"),
    "every spread": EVERY_SPREAD,
    "learned, sliced": mho.Hardware(
        cell="pcm",
        mapping={"kind": "bit_sliced", "bits": 6, "slice_bits": 3},
        array={"rows": 20},
        dac={"bits": 4, "range": "learned", "scheme": {"kind": "bit_serial", "slice_bits": 2}},
        adc={"bits": 8, "bound": "calibrated", "rounding": "stochastic"},
        noise={"input": 0.01, "output": 0.02, "read": {"kind": "additive", "sigma": 0.01}},
    ),
    "per token": mho.Hardware(
        cell="hermes-two-devices",
        array={"rows": 20},
        dac={"bits": 8, "range": "per_token"},
        adc={"bits": 8, "bound": 10.0},
        noise={"output": 0.04},
    ),
}

EFFECTS = [
    ("mixed", "standard"), ("mlp", "every spread"), ("mlp", "learned, sliced"), ("cnn", "per token")
]  # fmt: skip
"""Every kind of layer and every kind of effect, but not each with each."""


def ready(model: str = "cnn", hardware: str = "standard", stage: str = "programmed") -> nn.Module:
    """A model that is converted and calibrated, and if asked for programmed, aged, compensated."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = BUILDERS[model]()
    mho.convert(built, HARDWARE[hardware])
    mho.calibrate(built, [INPUTS[model]])
    if stage == "programmed":
        mho.at(mho.program(built, seed=3), "1 d")
        mho.compensate(built)
    return built


def step(model, x: torch.Tensor, seed: int = 5) -> dict[str, torch.Tensor]:
    """Output and gradients of one training step with the noise of a seed, by name."""
    model.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(seed)
    y = model(x)
    y.square().sum().backward()
    names = {name.removeprefix("_orig_mod."): p.grad for name, p in model.named_parameters()}
    return {"y": y.detach(), "x": x.grad, **{name: g.clone() for name, g in names.items()}}
