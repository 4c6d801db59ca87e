"""The models and the data of the examples, which the reproductions share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import fashion_mnist_cnn as fashion  # found in the folder just named
import g2p_gru as g2p
import spoken_digits_gru as spoken
from _data import mnist_file, read_idx

__all__ = ["fashion", "g2p", "mnist_file", "read_idx", "spoken"]
