"""Small networks on a part of Fashion-MNIST, for studies that train many of them."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from _common import cached
from _examples import fashion
from torch import Tensor, nn
from torch.nn import functional as F

import mho

LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)  # noise over the std of each weight tensor
Images = tuple[Tensor, Tensor]
Norm = Callable[[int], nn.Module]


class ThinVgg(nn.Sequential):
    """Six 3x3 convolutions of 8 to 32 channels, pooled after every second, and a linear layer.

    A norm follows every convolution, every second one, or none.
    """

    def __init__(self, norm: Norm = nn.BatchNorm2d, every: int = 1) -> None:
        layers: list[nn.Module] = []
        widths = (1, 8, 8, 16, 16, 32, 32)
        for k, (before, after) in enumerate(pairwise(widths), 1):
            layers.append(nn.Conv2d(before, after, 3, padding=1))
            layers += [norm(after)] if every and k % every == 0 else []
            layers.append(nn.ReLU())
            layers += [nn.MaxPool2d(2)] if k % 2 == 0 else []
        super().__init__(*layers, nn.Flatten(), nn.Linear(288, 10))


def load(images: int, tests: int) -> tuple[Images, Images]:
    """The first images to train on, and the first to test on."""
    (x, y), (test_x, test_y) = fashion.load_images("train"), fashion.load_images("t10k")
    return (x[:images], y[:images]), (test_x[:tests], test_y[:tests])


def trained(
    key: str,
    build: Callable[[], nn.Module],
    images: Images,
    seed: int,
    *,
    epochs: int = 3,
    rate: float | None = None,
) -> nn.Module:
    """Return a trained network; Adam at 2e-3, or SGD with momentum 0.9 at a rate if one is given.

    The learning rate falls to 0 on a cosine, in batches of 64.
    """
    torch.manual_seed(seed)
    model, (x, y) = build(), images
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    if rate is not None:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def train() -> None:
        order = torch.cat([torch.randperm(len(x)) for _ in range(epochs)]).split(64)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(order))
        model.train()
        for batch in order:
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()

    return cached(f"{key}-{len(x)}x{epochs}-{seed}", model, train)


def accuracy(model: nn.Module, tests: Images, shown: Sequence[Tensor] = ()) -> float:
    """Accuracy; with batches to be shown, after they have given batch norm new statistics."""
    if not shown:
        return fashion.accuracy(model, *tests)
    with mho.recalibrate_batch_norm(model, shown):
        return fashion.accuracy(model, *tests)


def sweep(
    model: nn.Module,
    tests: Images,
    draws: int,
    seed: int,
    *,
    targets: str = "weights",
    shown: Sequence[Tensor] = (),
) -> np.ndarray:
    """Mean accuracy (levels,) under noise on the weights, relative to that without noise.

    With `shown`, batch norm is recalibrated on these batches at every draw and level.
    """
    score = partial(accuracy, tests=tests)
    found = mho.robustness(model, score, LEVELS, targets=targets, draws=draws, seed=seed)  # pyright: ignore
    if not shown:
        return found.mean
    score = partial(accuracy, tests=tests, shown=shown)
    again = mho.robustness(model, score, LEVELS, targets=targets, draws=draws, seed=seed)  # pyright: ignore
    return again.scores.mean(0) / found.digital
