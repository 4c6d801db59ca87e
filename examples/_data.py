"""Find the public data and pretrained weights of the examples, and check their SHA-256.

Nothing is downloaded and no data package is imported: files are read where they were installed.
"""

import gzip
import hashlib
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

INSTALL = "run `make data` (it installs all data of the examples), then try again"
FASHION_MNIST = Path("usr/share/datasets/fashion-mnist")  # where Debian's package puts its files


class DataMissing(FileNotFoundError):
    """The data of an example is not installed."""


class DataChanged(ValueError):
    """A data file is not the one that the example was measured on."""


def check(path: Path, sha256: str) -> Path:
    """Return `path` if the file is there and its SHA-256, in hexadecimal, begins as given."""
    if not path.is_file():
        raise DataMissing(f"{path} does not exist: {INSTALL}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()[: len(sha256)]
    if found != sha256:
        raise DataChanged(
            f"{path} is not the file that this example was measured on: its SHA-256 begins with"
            f" {found}, expected {sha256}. Install the pinned version: {INSTALL}"
        )
    return path


def package_file(package: str, path: str, sha256: str) -> Path:
    """Locate a file of an installed Python package without importing the package."""
    try:
        found = distribution(package).locate_file(path)
    except PackageNotFoundError:
        raise DataMissing(f"the data package {package} is not installed: {INSTALL}") from None
    return check(Path(str(found)), sha256)


def fashion_mnist_file(name: str, sha256: str) -> Path:
    """Locate a file of Fashion-MNIST in `$FASHION_MNIST` if set, else in `.data` or `/usr`."""
    roots = [Path(__file__).resolve().parents[1] / ".data" / FASHION_MNIST, "/" / FASHION_MNIST]
    if folder := os.environ.get("FASHION_MNIST"):
        roots = [Path(folder)]
    for root in roots:
        if (root / name).is_file():
            return check(root / name, sha256)
    tried = " and ".join(map(str, roots))
    raise DataMissing(f"Fashion-MNIST's {name} is not in {tried}: {INSTALL}")


def mnist_file(name: str, sha256: str) -> Path:
    """Locate a file of MNIST in `$MNIST` if set, else in `.data/mnist`."""
    root = Path(__file__).resolve().parents[1] / ".data" / "mnist"
    return check(Path(os.environ.get("MNIST") or root) / name, sha256)


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, gzipped or not: 0, 0, 8, rank; sizes as big-endian int32; data."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
