"""Face or no face: MTCNN's pretrained R-Net (facenet-pytorch) on Labeled Faces in the Wild.

scikit-image carries 100 faces and 100 other patches of 25 x 25 gray pixels. The task is easy: the
score falls only on poor hardware.

    python examples/rnet_faces.py --instances 5 --times "1 s" "1 d" "1 y"
"""

from functools import partial

import numpy as np
import torch
from _data import package_file
from _options import options
from torch import Tensor, nn
from torch.nn import functional as F

import mho


class RNet(nn.Module):
    """Second stage of MTCNN (Zhang et al., IEEE Signal Process. Lett. 23, 1499, 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)  # no face, face
        self.dense5_2 = nn.Linear(128, 4)  # bounding box, unused here
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 3, 24, 24) in [-1, 1] to scores (batch, 2)."""
        x = self.pool(self.prelu1(self.conv1(x)))  # (batch, 28, 11, 11)
        x = self.pool(self.prelu2(self.conv2(x)))  # (batch, 48, 4, 4)
        x = self.prelu3(self.conv3(x))  # (batch, 64, 3, 3)
        x = x.permute(0, 3, 2, 1).flatten(1)  # (batch, 576) in the order width, height, channel
        return self.dense5_1(self.prelu4(self.dense4(x)))


def load_model() -> RNet:
    """Fill the network from the package's checkpoint."""
    model = RNet().eval()
    path = package_file("facenet-pytorch", "facenet_pytorch/data/rnet.pt", "bbb937de72efc9ef")
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def load_patches() -> tuple[Tensor, Tensor]:
    """The patches as R-Net wants them (200, 3, 24, 24), and whether each is a face (200,)."""
    gray = np.load(package_file("scikit-image", "skimage/data/lfw_subset.npy", "9560ec2f5edfac01"))
    images = (
        torch.from_numpy(gray).float()[:, None].expand(-1, 3, -1, -1)
    )  # (200, 3, 25, 25) in [0, 1]
    images = F.interpolate(images, size=(24, 24), mode="bilinear", antialias=True)
    return (images * 255 - 127.5) / 128, torch.arange(200) < 100


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, face: Tensor) -> float:
    """Fraction of patches told right."""
    return ((model(images).argmax(1) == 1) == face).float().mean().item()


def main() -> None:
    """Convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__)
    model = load_model()
    images, face = load_patches()
    score = partial(accuracy, images=images, face=face)
    print(f"digital accuracy {score(model):.4f}")

    hardware = mho.override(mho.load(args.hardware), args.set)
    print(mho.convert(model, hardware, where=~mho.named("dense5_2")))
    mho.calibrate(model, [images], method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.5}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\naccuracy, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
