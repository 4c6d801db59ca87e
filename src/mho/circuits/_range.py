"""Which input makes a DAC drive its full scale: the range rules."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field

from ..spec import Variant


class Range(Variant):
    """The rule for the input value r that is driven at full scale: v = clip(x / r, -1, 1)."""

    @property
    @abstractmethod
    def stored(self) -> bool:
        """Whether r is found by calibration and kept with the layer, for each row-slice."""

    @property
    def dynamic(self) -> bool:
        """Whether r follows each input vector, so that vectors must be told apart."""
        return False


class Fixed(Range):
    """The same r for every layer."""

    kind: Literal["fixed"] = "fixed"
    value: float = Field(default=1.0, gt=0, description="Input driven at full scale.")

    @property
    def stored(self) -> bool:
        """No: it is in the description."""
        return False


class Calibrated(Range):
    """r found from data by `mho.calibrate`, then kept."""

    kind: Literal["calibrated"] = "calibrated"

    @property
    def stored(self) -> bool:
        """Yes."""
        return True


class Learned(Range):
    """r found from data by `mho.calibrate`, then trained with the model.

    The gradient lets r grow only where clipped inputs ask for more amplitude (Buechel et al.,
    NeurIPS 2025, arXiv 2505.09663; Rasch et al., Nat. Commun. 14:5282, 2023):

        dL/dr = r (sum_{x >= r} min(g, 0) - sum_{x <= -r} max(g, 0))

    The sums are over the inputs of one array row-slice. In a convolution these are its pixels, or,
    where other effects need every vector apart, the entries of its patches. Nothing here lets r
    shrink: the decay that the papers add to this gradient is a choice of the training, see
    `RangeDecay`.
    """

    kind: Literal["learned"] = "learned"

    @property
    def stored(self) -> bool:
        """Yes, as a Parameter."""
        return True


class PerToken(Range):
    """r is the largest |x| of each input vector (absolute-maximum noise management)."""

    kind: Literal["per_token"] = "per_token"

    @property
    def stored(self) -> bool:
        """No: each vector brings its own."""
        return False

    @property
    def dynamic(self) -> bool:
        """Yes."""
        return True
