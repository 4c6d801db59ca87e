"""Train a small convolutional network on Fashion-MNIST, then put it on chips that age.

python examples/fashion_mnist_cnn.py --instances 5 --times "1 s" "1 d" "1 y"
"""

from functools import partial

import torch
from _data import fashion_mnist_file, read_idx
from _options import options
from torch import Tensor, nn
from torch.nn import functional as F

import mho


class LeNet(nn.Module):
    """Two convolutions and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 5), nn.Conv2d(16, 32, 5)
        self.fc1, self.fc2 = nn.Linear(512, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 1, 28, 28) to scores (batch, 10)."""
        x = F.max_pool2d(self.conv1(x).relu(), 2)  # (batch, 16, 12, 12)
        x = F.max_pool2d(self.conv2(x).relu(), 2)  # (batch, 32, 4, 4)
        return self.fc2(self.fc1(x.flatten(1)).relu())


def load_images(which: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 28, 28) in [-1, 1], classes (n,); n is 60000 in "train", 10000 in "t10k"."""
    images, labels = {
        "train": ("b0564c3eedabfbf8", "0ae29f65d86684f3"),
        "t10k": ("cc1d090a38ace84d", "8d3605d196f4be44"),
    }[which]
    x = read_idx(fashion_mnist_file(f"{which}-images-idx3-ubyte.gz", images))
    y = read_idx(fashion_mnist_file(f"{which}-labels-idx1-ubyte.gz", labels))
    return torch.tensor(x)[:, None].float() / 127.5 - 1, torch.tensor(y).long()


def train(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int = 2, seed: int = 0) -> None:
    """Adam on batches of 64, learning rate 2e-3 falling to 0 on a cosine."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    order = torch.cat([torch.randperm(len(x), generator=generator) for _ in range(epochs)])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(order) // 64 + 1)
    model.train()
    for batch in order.split(64):
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Fraction of images whose highest score is at their class."""
    right = sum(
        (model(images).argmax(1) == classes).sum()
        for images, classes in zip(x.split(1000), y.split(1000), strict=True)
    )
    return int(right) / len(y)


def main() -> None:
    """Train, convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__, epochs=2, images=60_000)
    torch.manual_seed(args.seed)
    model = LeNet()
    x, y = load_images("train")
    print(f"training on {args.images} images for {args.epochs} epochs ...")
    train(model, x[: args.images], y[: args.images], epochs=args.epochs, seed=args.seed)
    test_x, test_y = load_images("t10k")
    score = partial(accuracy, x=test_x, y=test_y)
    print(f"digital accuracy {score(model):.4f}")

    hardware = mho.override(mho.load(args.hardware), args.set)
    print(mho.convert(model, hardware))
    mho.calibrate(model, x[:2000].split(200), method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.1}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\naccuracy, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
