"""Noise that is drawn anew for every product."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field

from ..spec import Spec, Variant


class ReadNoise(Variant):
    """Noise of the cells during one product, in its exact output-referred form.

    A weight matrix whose entries carry independent Gaussian noise that is redrawn for each product
    gives outputs with independent Gaussian noise; its variance is another matrix product.
    """

    sigma: float = Field(default=0.0, ge=0, description="Relative to the weight at g_max.")

    @property
    @abstractmethod
    def per_weight(self) -> bool:
        """Whether the variance of a cell is proportional to |w| (else it is the same for all)."""


class Additive(ReadNoise):
    """The same noise on every cell: var(y_i) = sigma^2 sum_j v_j^2."""

    kind: Literal["additive"] = "additive"

    @property
    def per_weight(self) -> bool:
        """No."""
        return False


class PcmRead(ReadNoise):
    """Noise with a variance proportional to the conductance: var(y_i) = sigma^2 sum_j |w_ij| v_j^2.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), Methods (short-term weight noise of PCM).
    """

    kind: Literal["pcm_read"] = "pcm_read"

    @property
    def per_weight(self) -> bool:
        """Yes."""
        return True


class Noise(Spec):
    """Noise per product. Signals are in units of input range x weight scale."""

    input: float = Field(
        default=0.0,
        ge=0,
        description="Std on each driven row, relative to full scale, drawn anew for each vector on "
        "each array.",
    )
    output: float = Field(default=0.0, ge=0, description="Std on each column before its ADC.")
    output_spread: float = Field(
        default=0.0, ge=0, description="Relative spread of the output noise's std over columns."
    )
    read: ReadNoise | None = Field(
        default=None, description="Noise of the cells during one product."
    )
