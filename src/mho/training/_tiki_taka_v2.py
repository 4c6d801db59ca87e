"""Tiki-Taka v2: a digital buffer takes the noise out of the transfer."""

from typing import Literal

from ._buffered import BufferedTransfer


class TikiTakaV2(BufferedTransfer):
    """`BufferedTransfer` as it is: the symmetry points of A's cells must be at relative weight 0.

    Source: T. Gokmen, Front. Artif. Intell. 4:699148 (2021).
    """

    kind: Literal["tiki_taka_v2"] = "tiki_taka_v2"
