"""Layers that are written by pulses, and what their arrays hold then."""

import torch
from torch import nn

import mho
from mho.nn import sites

DIFFERENTIAL = {"kind": "differential", "scaling": "fixed", "w_max": 1.0}
PCM_NOISE = mho.load("pcm-joshi-2020").cell.programming
NOISY = {"programming": {"kind": "gaussian", "std": {"kind": "constant", "value": 1.0}}}
"""1 uS of 25 uS on every pulse."""
RANGE = {"range": {"kind": "fixed", "value": 1.0}}
COLUMN_ERRORS = {"bits": 8, "bound": 5.0, "gain_spread": 0.03, "offset_spread": 0.005}


def layer(shape=(40, 50), seed=0, extent=0.8, cell=None, std=None, **hardware):
    """A linear layer with weights uniform in +-extent, or normal, of full scale."""
    g = torch.Generator().manual_seed(seed)
    model = nn.Linear(shape[1], shape[0], bias=False).eval()
    with torch.no_grad():
        w = extent * (2 * torch.rand(shape, generator=g) - 1)
        if std is not None:
            w = (std * torch.randn(shape, generator=g)).clamp(-extent, extent)
        model.weight.copy_(w)
    cell = {"kind": "composed", "g_max": "25 uS", **(cell or {})}
    mho.convert(model, mho.Hardware(cell=cell, mapping=DIFFERENTIAL, **hardware))
    return model


def held(model):
    """The weights by which the arrays compute now."""
    (site,) = sites(model)
    return site.crossbar.operand(site.matrix).weight.detach()


def columns(model):
    """The converters of the chip instance."""
    return sites(model).__next__().crossbar._present.columns


def written(model, method, seed=1):
    """Program; return the report on the only matrix."""
    mho.program(model, seed=seed, method=method)
    return mho.programming_report(model).matrices[0]


def product_error(model, vectors=1500, seed=3):
    """Relative error of products with new random inputs."""
    g = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(vectors, model.weight.shape[1], generator=g) - 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        exact = x @ model.weight.T
        return float((model(x) - exact).norm() / exact.norm())
