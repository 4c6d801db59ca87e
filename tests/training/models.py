"""Small models on pulsed devices, and their training."""

import torch
from torch import nn

import mho
from mho.nn import sites

SYMMETRIC = {"kind": "constant_step", "step": 1e-3}
"""Steps up and down are the same everywhere."""
SOFT = {
    "kind": "soft_bounds",
    "step": 2e-3,
    "step_spread": 0.1,
    "cycle_noise": 0.3,
    "low_spread": 0.1,
    "high_spread": 0.1,
}
"""Steps that fall to zero at bounds, other ones for each cell, with noise from pulse to pulse."""
ALGORITHMS = {
    "exact": mho.Exact(),
    "pulsed_sgd": mho.PulsedSGD(),
    "tiki_taka": mho.TikiTaka(columns=None, transfer_learning_rate=0.5),
    "tiki_taka, gamma": mho.TikiTaka(columns=4, gamma=0.5, order="random"),
    "tiki_taka, 3 arrays": mho.TikiTaka(columns=None, arrays=3, gamma=0.5, reset_probability=0.1),
    "tiki_taka_v2": mho.TikiTakaV2(columns=None),
    "tiki_taka_v2, not forgetting": mho.TikiTakaV2(
        columns=4, forget_buffer=False, auto_scale=False, fast_learning_rate=1.0, gamma=0.3
    ),
    "chopped_tiki_taka": mho.ChoppedTikiTaka(
        columns=None, input_chopper_probability=0.02, output_chopper_probability=0.02
    ),
    "chopped_tiki_taka, regular": mho.ChoppedTikiTaka(
        switching="regular",
        gamma=0.2,
        fast_learning_rate=0.5,
        auto_granularity=1.0,
        input_chopper_probability=0.02,
    ),
    "agad": mho.Agad(columns=None, input_chopper_probability=0.05),
    "agad, random": mho.Agad(columns=6, switching="random", momentum=0.5),
    "mixed_precision": mho.MixedPrecision(),
    "mixed_precision, levels": mho.MixedPrecision(
        columns=5, transfer_every=2, input_bins=5, error_bins=3
    ),
    "residual_learning": mho.ResidualLearning(),
    "residual_learning, 3 arrays": mho.ResidualLearning(arrays=3, columns=3),
    "residual_learning_v2": mho.ResidualLearningV2(beta=0.05),
}
"""Every algorithm, with every option of it somewhere."""


def hardware(device=SOFT, **parts):
    """Ideal arrays of cells that answer pulses."""
    return mho.Hardware(cell={"kind": "ideal", "device": device}, **parts)


def perceptron(device=SOFT, seed=0, **parts):
    """A converted perceptron 6 - 8 - 3, with weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    mho.convert(model, hardware(device, **parts))
    return model


def data(n=256, inputs=6, outputs=3, seed=0):
    """A smooth function of normal inputs, which a perceptron can learn."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, inputs, generator=g)
    return x, torch.tanh(x @ torch.randn(inputs, outputs, generator=g) / 2)


def loss_of(model, batch):
    x, y = batch
    return (model(x) - y).square().sum(1).mean()


def train(model, optimizer, steps, batch=16, seed=0):
    """Train on `data`, and return the loss on all of it before and after."""
    x, y = data(seed=seed)
    order = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        before = float(loss_of(model, (x, y)))
    for _ in range(steps):
        picked = torch.randint(len(x), (batch,), generator=order)
        optimizer.zero_grad()
        loss_of(model, (x[picked], y[picked])).backward()
        optimizer.step()
    with torch.no_grad():
        return before, float(loss_of(model, (x, y)))


def weights(model):
    """Copies of all analog weights, by name."""
    return {site.name: site.weight.detach().clone() for site in sites(model)}


def attached(algorithm, device=SOFT, lr=0.1, seed=0, model=None, **options):
    """A perceptron, its optimizer, and its training in memory."""
    model = model or perceptron(device, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return model, optimizer, mho.attach(optimizer, model, algorithm, seed=seed, **options)
