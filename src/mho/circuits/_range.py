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

    The gradient lets r grow only where clipped inputs ask for more amplitude, and lets it decay
    while more than `keep` of the inputs are unclipped (Buechel et al., NeurIPS 2025,
    arXiv 2505.09663; Rasch et al., Nat. Commun. 14:5282, 2023):

        dL/dr = r (sum_{x >= r} min(g, 0) - sum_{x <= -r} max(g, 0)) + decay r [unclipped > keep]

    The sums are over the inputs of one array row-slice. In a convolution these are its pixels, or,
    where other effects need every vector apart, the entries of its patches.
    """

    kind: Literal["learned"] = "learned"
    decay: float = Field(
        default=0.001, ge=0, description="Pull towards smaller ranges, relative to r."
    )
    keep: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Unclipped share of the inputs above which the decay acts.",
    )

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
