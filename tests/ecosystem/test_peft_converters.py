"""Coarser converters under a frozen base: only the adapter is trained again.

Li et al. (AHWA-LoRA, arXiv 2411.17367) go from 8 to 6 bits under MobileBERT; here it is a residual
network on scikit-learn's digits. Its ADC covers every row of an array at full scale, so that it
never saturates, and a column's usual signal is only a few levels of six bits.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import mho
from chips import assert_same

ROWS = 128
DATA = load_digits()
ORDER = torch.randperm(len(DATA.data), generator=torch.Generator().manual_seed(0))
X, Y = torch.tensor(DATA.data / 16).float()[ORDER], torch.tensor(DATA.target)[ORDER]
X_TRAIN, Y_TRAIN, X_TEST, Y_TEST = X[:1200], Y[:1200], X[1200:], Y[1200:]
NOISE = mho.Adaptation(noise=mho.AdditiveNoise(std=0.02))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, x):
        return x + self.down(F.relu(self.up(self.norm(x))))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), Block(), Block(), nn.Linear(64, 10))


def hardware(bits):
    return mho.Hardware(
        cell="pcm",
        array={"rows": ROWS, "cols": ROWS},
        dac={"bits": bits, "range": "calibrated"},
        adc={"bits": bits, "bound": float(ROWS)},
        noise={"output": 0.04},
    )


def train(model, steps, lr, adaptation=None):
    torch.manual_seed(1)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr)
    adapted = mho.adapt(model, adaptation, optimizer) if adaptation else None
    model.train()
    for _ in range(steps):
        picked = torch.randint(0, len(X_TRAIN), (128,))
        optimizer.zero_grad()
        F.cross_entropy(model(X_TRAIN[picked]), Y_TRAIN[picked]).backward()
        optimizer.step()
    if adapted:
        adapted.remove()
    model.eval()


def accuracy(model, draws=5):
    torch.manual_seed(2)
    with torch.no_grad():
        return (
            sum(float((model(X_TEST).argmax(1) == Y_TEST).float().mean()) for _ in range(draws))
            / draws
        )


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is:FutureWarning")
def test_the_adapter_alone_recovers_from_eight_to_six_bits():
    model = network()
    train(model, 300, 2e-3)
    head = mho.named("3")
    mho.convert(model, hardware(8), where=~head)
    mho.calibrate(model, [X_TRAIN[:256]])
    adapted = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules=["0", "up", "down"])
    )
    trainable, total = adapted.get_nb_trainable_parameters()
    assert trainable < 0.1 * total
    train(adapted, 100, 4e-3, NOISE)
    weights = {k: v.detach().clone() for k, v in adapted.named_parameters() if "lora_" not in k}
    fine = accuracy(adapted)
    mho.restore(adapted)  # the adapters stay where they are
    mho.convert(adapted, hardware(6), where=~head)
    mho.calibrate(adapted, [X_TRAIN[:256]])
    coarse = accuracy(adapted)
    train(adapted, 150, 4e-3, NOISE)
    again = accuracy(adapted)
    now = {k: v.detach() for k, v in adapted.named_parameters() if "lora_" not in k}
    assert_same(now, weights)
    # 597 test images: a standard error of 0.02 at most for each of the three accuracies.
    assert fine - coarse > 5 * 0.02 * 2**0.5
    assert (again - coarse) / (fine - coarse) > 0.5
