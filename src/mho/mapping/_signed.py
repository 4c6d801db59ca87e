"""One signed effective conductance per weight, for laws fitted on the difference of a pair."""

from typing import Literal

from torch import Tensor

from ._mapping import Mapping


class Signed(Mapping):
    """The unit cell as a black box with a signed conductance, G = w g_max.

    For cells whose published error is that of the whole unit cell, not of one device, such as the
    polynomial of Buechel et al., NeurIPS 2025 (arXiv 2505.09663).
    """

    kind: Literal["signed"] = "signed"

    @property
    def planes(self) -> int:
        """The unit cell as a whole."""
        return 1

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`; g_min plays no part."""
        return (w * g_max).unsqueeze(0)

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        return g / g_max
