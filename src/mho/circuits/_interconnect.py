"""Line resistance from the geometry of a metal layer."""

import math
from typing import Literal

from pydantic import Field

from ..spec import Meters
from ._line_resistance import LineResistance


class Interconnect(LineResistance):
    """Copper lines whose resistivity rises as they get narrow. See `LineResistance`.

    Scattering at the surfaces (Fuchs, Proc. Camb. Philos. Soc. 34, 100, 1938; Sondheimer, Adv.
    Phys. 1, 1, 1952) and at grain boundaries (Mayadas & Shatzkes, Phys. Rev. B 1, 1382, 1970) adds
    to the resistivity of a line of width w, with grains as large as the line is wide:

        rho = rho_0 [3/4 (1 - p) l_0 / w + 1 / (1 - 3 a/2 + 3 a^2 - 3 a^3 ln(1 + 1/a))]
        a = l_0 R / (w (1 - R)),   segment = rho length / (w thickness)

    A row passes the width of a cell, a column its length. Defaults: those of IMAC-Sim (M. H. Amin
    et al., ISCAS 2022, arXiv 2201.12480, and its code), where widths and cells scale with the node
    and the thickness does not. Valid for lines wider than some nanometers; vias and barriers are
    not in it.
    """

    kind: Literal["interconnect"] = "interconnect"
    node: Meters = Field(gt=0, le=1e-6, description="Technology node [m], such as 9 nm.")
    wire_width: float = Field(default=3.0, gt=0, description="Width w of a line, in nodes.")
    thickness: Meters = Field(default=22e-9, gt=0, description="Thickness of the metal [m].")
    cell_width: float = Field(
        default=12.0, gt=0, description="Distance of columns, that is of cells of a row, in nodes."
    )
    cell_length: float = Field(
        default=15.0, gt=0, description="Distance of rows, that is of cells of a column, in nodes."
    )
    bulk_resistivity: float = Field(default=1.9e-8, gt=0, description="rho_0 [ohm m].")
    mean_free_path: Meters = Field(default=39e-9, gt=0, description="l_0 of electrons [m].")
    specularity: float = Field(
        default=0.25, ge=0, le=1, description="p: share of electrons mirrored by the surfaces."
    )
    reflection: float = Field(
        default=0.3, ge=0, lt=1, description="R: share of electrons reflected by grain boundaries."
    )

    @property
    def resistivity(self) -> float:
        """Resistivity rho of the lines [ohm m]."""
        width = self.wire_width * self.node
        a = self.mean_free_path * self.reflection / (width * (1 - self.reflection))
        log = math.log1p(1 / a) if a else 0.0
        grains = 1 / (1 - 1.5 * a + 3 * a**2 - 3 * a**3 * log)
        surfaces = 0.75 * (1 - self.specularity) * self.mean_free_path / width
        return self.bulk_resistivity * (surfaces + grains)

    @property
    def segments(self) -> tuple[float, float]:
        """From the geometry."""
        per_length = self.resistivity / (self.wire_width * self.node * self.thickness)
        return per_length * self.cell_width * self.node, per_length * self.cell_length * self.node
