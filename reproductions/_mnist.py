"""The handwritten digits of MNIST, for reproductions of papers that used them."""

import numpy as np
from _examples import mnist_file, read_idx

HASHES = {
    "train": ("ba891046e6505d7a", "65a50cbbf4e906d7"),
    "t10k": ("0fa7898d509279e4", "ff7bcfd416de3373"),
}


def digits(which: str, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images (n, 28, 28) of `train` or `t10k`, 0 to 255, and their classes."""
    images, labels = HASHES[which]
    x = read_idx(mnist_file(f"{which}-images-idx3-ubyte", images))[:count]
    y = read_idx(mnist_file(f"{which}-labels-idx1-ubyte", labels))[:count]
    return x, y.astype(np.int64)
