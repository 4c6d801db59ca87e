"""A small vision transformer on Fashion-MNIST, whose layers are plain linear ones."""

import torch
from _common import cached
from _small_nets import Images
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, BLOCKS, PATCH = 128, 4, 2, 7


class Block(nn.Module):
    """Attention and a perceptron, each around a norm before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (images, patches, width) to the same."""
        y = self.norm1(x)
        parts = (
            layer(y).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(*parts)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Sixteen patches of 7x7 pixels, two blocks, and a linear layer on the mean of the patches."""

    def __init__(self, width: int = WIDTH, classes: int = 10) -> None:
        super().__init__()
        self.enter = nn.Linear(PATCH * PATCH, width)
        self.position = nn.Parameter(0.02 * torch.randn((28 // PATCH) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (images, 1, 28, 28) to scores (images, 10)."""
        patches = F.unfold(images, PATCH, stride=PATCH).transpose(1, 2)  # (images, 16, 49)
        x = self.blocks(self.enter(patches) + self.position)
        return self.head(self.norm(x).mean(1))


def train_on(
    model: nn.Module, images: Images, steps: int, optimizer: torch.optim.Optimizer, seed: int
) -> None:
    """Train on random batches of 64, the learning rate falling to 0 on a cosine."""
    x, y = images
    generator = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    model.eval()


def pretrained(images: Images, steps: int, seed: int) -> nn.Module:
    """Return the digital model; Adam at 1e-3."""
    torch.manual_seed(seed)
    model = VisionTransformer()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train = lambda: train_on(model, images, steps, optimizer, seed)  # noqa: E731
    return cached(f"transformer-{len(images[0])}-{steps}-{seed}", model, train)
