"""The digital models that are timed, each with a batch of inputs."""

import torch
from torch import Tensor, nn

BATCH = 64


def lenet() -> tuple[nn.Module, Tensor]:
    """LeNet with 16 and 32 filters of 5x5 and a 512-128-10 classifier, on 28x28 gray images."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    return model.eval(), _inputs(BATCH, 1, 28, 28)


def square_linear(size: int = 1024, batch: int = BATCH) -> tuple[nn.Module, Tensor]:
    """One linear layer of `size` inputs and outputs."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(size, size)).eval(), _inputs(batch, size)


def perceptron(size: int = 4096, depth: int = 3) -> tuple[nn.Module, Tensor]:
    """A stack of large linear layers, whose weights outweigh everything else in the process."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(size, size), nn.ReLU())]
    return nn.Sequential(*layers).eval(), _inputs(BATCH, size)


def _inputs(*shape: int) -> Tensor:
    """Gaussian inputs of which three standard deviations fill the converters' range [-1, 1]."""
    return torch.randn(*shape) / 3
