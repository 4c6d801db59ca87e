"""Named random streams: what makes a chip instance is a function of names, never of call order."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Stream:
    """Random numbers of one tile of one chip instance.

    Each draw is keyed by (seed, tile, purpose, step) with Philox-4x64, a counter generator
    (Salmon et al., SC 2011), on the CPU and in float32. It is therefore the same for any batch
    size, order of calls, device or dtype of the model. Draws over a weight matrix use the matrix's
    own rows and columns, so that another partition over arrays gives each weight the same cell.
    """

    seed: int
    tile: str

    def _digest(self, purpose: str, step: int | float) -> bytes:
        name = f"{self.seed}\x1f{self.tile}\x1f{purpose}\x1f{step!r}".encode()
        return hashlib.blake2b(name, digest_size=16).digest()

    def _generator(self, purpose: str, step: int | float) -> np.random.Generator:
        key = int.from_bytes(self._digest(purpose, step), "little")
        return np.random.Generator(np.random.Philox(key=key))

    def key(self, purpose: str) -> tuple[int, int]:
        """Two numbers of 32 bits, the key of a counter generator for draws in kernels."""
        digest = self._digest(purpose, 0)
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")

    def normal(self, purpose: str, shape: tuple[int, ...], step: int | float = 0) -> Tensor:
        """Standard normal numbers of `shape`."""
        draw = self._generator(purpose, step).standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(np.asarray(draw))

    def uniform(self, purpose: str, shape: tuple[int, ...], step: int | float = 0) -> Tensor:
        """Uniform numbers in [0, 1) of `shape`."""
        draw = self._generator(purpose, step).random(shape, dtype=np.float32)
        return torch.from_numpy(np.asarray(draw))
