"""The demo's own little world: scikit-learn's digits, a small network, and its training."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

TEST_SHARE = 1 / 3
BATCH = 64
RATE = 2e-3


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 8, 8) in [0, 1] and labels (n,), to train and to test with."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def accuracy(self, model: nn.Module) -> float:
        """Return the share of test images that the model names correctly."""
        with torch.no_grad():
            return float((model(self.test_x).argmax(1) == self.test_y).float().mean())


def load_digits() -> Digits:
    """Return the digits that come with scikit-learn, shuffled and split evenly over the classes."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    images, labels = datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels)
    train, test = train_test_split(
        range(len(y)), test_size=TEST_SHARE, stratify=labels, random_state=0
    )
    return Digits(x[train], y[train], x[test], y[test])


def network() -> nn.Sequential:
    """Return a network with three convolutions and two linear layers, about 15 000 weights."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, 16, 3, padding=1)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(16, 32, 3, stride=2)),
        ("relu2", nn.ReLU()),
        ("conv3", nn.Conv2d(32, 32, 3)),
        ("relu3", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("linear1", nn.Linear(32, 32)),
        ("relu4", nn.ReLU()),
        ("linear2", nn.Linear(32, 10)),
    ]
    return nn.Sequential(OrderedDict(layers))


def noisy(model: nn.Module, level: float) -> dict[str, Tensor]:
    """Return each weight matrix with Gaussian noise, w + level * max|w of its column| * xi.

    A column of the array is an output of the matrix. The Parameters stay as they are, and the
    gradient of the sum is theirs. Source: Joshi et al., Nat. Commun. 11:2473 (2020), Methods, there
    relative to the largest weight of the layer; here to that of the column, which g_max stands for.
    """
    found = {}
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            peak = weight.detach().flatten(1).abs().amax(1)
            peak = peak.reshape(-1, *[1] * (weight.dim() - 1))
            found[name] = weight + level * peak * torch.randn_like(weight)
    return found


def train(model: nn.Module, digits: Digits, epochs: int, weight_noise: float = 0.0) -> None:
    """Train a network in place, digital or converted, with noise on its weights if asked for.

    A converted network that is not programmed computes with its digital weights through the
    converters, the wires and the noise of its hardware.
    """
    x, y = digits.train_x, digits.train_y
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            weights = noisy(model, weight_noise) if weight_noise else {}
            out = torch.func.functional_call(model, weights, (x[batch],))
            optimizer.zero_grad()
            functional.cross_entropy(out, y[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
