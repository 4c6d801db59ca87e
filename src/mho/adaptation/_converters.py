"""The converters that a training meets: those of one chip, or of another chip for every draw."""

import torch
from torch import Tensor

from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Columns, read_out


class Draws:
    """Draws from torch's generator, where a law asks for those of a chip instance."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def uniform(self, purpose: str, shape: tuple[int, ...], step: float = 0.0) -> Tensor:
        """Return uniform numbers in [0, 1)."""
        return torch.rand(shape, device=self.device)

    def normal(self, purpose: str, shape: tuple[int, ...], step: float = 0.0) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(shape, device=self.device)


class Converters:
    """The read-out of the columns during a training; see `Adaptation.converters`."""

    def __init__(self, which: str | int) -> None:
        self.which = which
        self.kept: dict[int, Columns] = {}

    def columns(self, crossbar: Crossbar, device: torch.device) -> Columns:
        """Return the read-out for one product."""
        if not isinstance(self.which, int):
            return read_out(crossbar.hardware, crossbar.geometry, Draws(device))
        key = id(crossbar)
        if key not in self.kept:
            self.kept[key] = chip_columns(crossbar, self.which)
        found = self.kept[key]
        if any(value is not None and value.device != device for value in found):
            found = Columns(*(None if v is None else v.to(device) for v in found))
            self.kept[key] = found
        return found


def chip_columns(crossbar: Crossbar, seed: int) -> Columns:
    """Return the read-out that the crossbar has on the chip instance of a seed."""
    return read_out(crossbar.hardware, crossbar.geometry, Stream(seed, crossbar.name))
