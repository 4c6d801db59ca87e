"""Read laws: 1/f noise that a conductance has accumulated by the time it is read."""

import math
from abc import abstractmethod
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from ..spec import Seconds, Siemens, Variant
from ._curves import Curve
from ._programming import MICROSIEMENS


def accumulated(seconds: float, t_read: float) -> float:
    """sqrt(ln((t + t_read)/(2 t_read))): 1/f noise from one reading to t (Nandakumar et al., 2019).

    Nothing has accumulated up to t = t_read, where the expression reaches 0.
    """
    return math.sqrt(max(math.log((seconds + t_read) / (2 * t_read)), 0.0))


class Read(Variant):
    """Accumulated 1/f noise: one frozen draw per cell and time. Noise per product is another."""

    nonnegative: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def std(self, programmed: Tensor, drifted: Tensor, seconds: float, g_max: float) -> Tensor:
        """Return the standard deviation [S] of each cell.

        Args:
            programmed: magnitudes [S] at the end of programming, any shape.
            drifted: magnitudes [S] at the time of reading.
            seconds: time since programming.
            g_max: largest conductance of the cell [S].
        """


class Flicker(Read):
    """std = scale |g_d| Q(g_prog/g_max) sqrt(ln((t + t0 + t_read)/(2 t_read))).

    Q is taken at the *programmed* conductance (Joshi et al., Nat. Commun. 11:2473, 2020, as in the
    published code of IBM's aihwkit). A cell may be programmed above g_max by noise: the curve is
    then followed past r = 1.
    """

    kind: Literal["flicker"] = "flicker"
    q: Curve = Field(description="Relative 1/f amplitude over r = programmed/g_max, dimensionless.")
    t_read: Seconds = Field(default=250e-9, gt=0, description="Duration of one reading [s].")
    t0: Seconds = Field(
        default=20.0, ge=0, description="Time from programming to the clock's zero [s]."
    )
    scale: float = Field(default=1.0, ge=0, description="Multiplier of the standard deviation.")
    nonnegative: ClassVar[tuple[str, ...]] = ("q",)

    def std(self, programmed: Tensor, drifted: Tensor, seconds: float, g_max: float) -> Tensor:
        """Return noise in proportion to the drifted conductance."""
        growth = self.scale * accumulated(seconds + self.t0, self.t_read)
        return drifted * self.q(programmed / g_max) * growth


class FlickerAbsolute(Read):
    """std = amplitude (|g_d|/g_max) sqrt(ln((t + t0 + t_read)/(2 t_read))).

    The amplitude is a conductance and does not grow with g_max (state-independent model of IBM's
    aihwkit, where it is 1 uS).
    """

    kind: Literal["flicker_absolute"] = "flicker_absolute"
    amplitude: Siemens = Field(
        default=1e-6, ge=0, description="1/f amplitude of a cell at g_max [S]."
    )
    t_read: Seconds = Field(default=250e-9, gt=0, description="Duration of one reading [s].")
    t0: Seconds = Field(
        default=20.0, ge=0, description="Time from programming to the clock's zero [s]."
    )

    def std(self, programmed: Tensor, drifted: Tensor, seconds: float, g_max: float) -> Tensor:
        """Return noise in proportion to the drifted conductance over g_max."""
        return drifted * (self.amplitude / g_max * accumulated(seconds + self.t0, self.t_read))


class FlickerLogarithmic(Read):
    """std = amplitude log10(g_d / 1 uS) sqrt(ln((t + t_read)/(2 t_read))).

    Fit to CMO/HfOx ReRAM between 9 and 88 uS (Lombardo et al., DRC 2024; Falcone et al., 2025,
    arXiv:2502.04524); at 1 uS and below, far outside of it, the standard deviation is 0.
    """

    kind: Literal["flicker_logarithmic"] = "flicker_logarithmic"
    amplitude: Siemens = Field(
        default=0.0277316483e-6, ge=0, description="1/f amplitude per decade of conductance [S]."
    )
    t_read: Seconds = Field(default=1e-6, gt=0, description="Duration of one reading [s].")

    def std(self, programmed: Tensor, drifted: Tensor, seconds: float, g_max: float) -> Tensor:
        """Return noise in proportion to the decades of conductance above 1 uS."""
        decades = (drifted / MICROSIEMENS).clamp(min=1.0).log10()
        return decades * (self.amplitude * accumulated(seconds, self.t_read))
