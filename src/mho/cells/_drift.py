"""Drift laws: where a programmed conductance has moved to after some time."""

import math
from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..errors import RangeError
from ..spec import Seconds, Siemens, Variant, format_seconds
from ._curves import Curve


class Drift(Variant):
    """How a conductance changes between the end of programming and a later time."""

    nonnegative: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[bool] = True  # also means something for cells that carry a sign

    @abstractmethod
    def coefficient(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return what each cell keeps for life, drawn once when it is programmed.

        Args:
            target: magnitudes [S], any shape.
            g_max: largest conductance of the cell [S].
            xi: standard normal numbers of the shape of target.
        """

    @abstractmethod
    def apply(
        self,
        programmed: Tensor,
        coefficient: Tensor,
        seconds: float,
        g_max: float,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Return the magnitudes [S], `seconds` > 0 after programming.

        Args:
            programmed: magnitudes [S] at the end of programming.
            coefficient: what `coefficient` returned.
            seconds: time since programming.
            g_max: largest conductance of the cell [S].
            draw: returns standard normal numbers, one per cell and always the same at this time.

        Raises:
            RangeError: the law has no meaning at this time.
        """


class PowerLaw(Drift):
    """g(t) = g_prog ((t + t0)/t0)^-nu with nu = scale |mean(r) + std(r) xi|, r = g_T/g_max.

    t counts from the end of programming, so t = 0 is no drift (Joshi et al., Nat. Commun. 11:2473,
    2020; Nandakumar et al., ICECS 2019). r comes from the target, which never exceeds 1.
    """

    kind: Literal["power_law"] = "power_law"
    nu_mean: Curve = Field(
        description="Mean of the drift exponent over r = target/g_max, dimensionless."
    )
    nu_std: Curve = Field(description="Spread of the drift exponent over cells, dimensionless.")
    t0: Seconds = Field(
        default=20.0, gt=0, description="Time of the first reading after programming [s]."
    )
    scale: float = Field(default=1.0, ge=0, description="Multiplier of every drift exponent.")
    nonnegative: ClassVar[tuple[str, ...]] = ("nu_std",)

    def coefficient(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return the drift exponents nu."""
        r = target / g_max
        return self.scale * (self.nu_mean(r) + self.nu_std(r) * xi).abs()

    def apply(
        self,
        programmed: Tensor,
        coefficient: Tensor,
        seconds: float,
        g_max: float,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Return the power law in time."""
        return programmed * torch.exp(-math.log1p(seconds / self.t0) * coefficient)


class LogRelaxation(Drift):
    """g(t) = g_prog + scale (mean_slope ln t + (std_slope ln t + std_offset) xi), t in s.

    The shift does not depend on the conductance. Each cell keeps its xi for life, so that a cell
    that relaxes more than others does so at every time. The fit starts at 1 s after programming.
    Defaults: CMO/HfOx ReRAM (Falcone et al., 2025, arXiv:2502.04524).
    """

    kind: Literal["log_relaxation"] = "log_relaxation"
    mean_slope: Siemens = Field(
        default=-0.08900206e-6, description="Mean change per e-fold of time [S]."
    )
    std_slope: Siemens = Field(
        default=0.04201137e-6, ge=0, description="Growth of the spread per e-fold [S]."
    )
    std_offset: Siemens = Field(default=0.41183342e-6, ge=0, description="Spread at 1 s [S].")
    scale: float = Field(default=1.0, ge=0, description="Multiplier of mean and spread.")
    signed: ClassVar[bool] = False

    def coefficient(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return the cell's own xi."""
        return xi

    def apply(
        self,
        programmed: Tensor,
        coefficient: Tensor,
        seconds: float,
        g_max: float,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Return the shifted conductances."""
        if seconds < 1:
            raise RangeError(
                f"time {seconds:g} s: log_relaxation was measured from 1 s after programming on; "
                "ask for 0 s (as programmed) or at least 1 s"
            )
        e_folds = math.log(seconds)
        spread = self.std_slope * e_folds + self.std_offset
        return programmed + self.scale * (self.mean_slope * e_folds + spread * coefficient)


class MeasuredTimes(Drift):
    """g(t_k) = g_T + scale (g_max/full_scale) std_k(r) xi_k, at the measured times t_k only.

    The deviation from the target was measured as a whole, so it is drawn on the target and takes
    the place of the programming error. Only its distribution at each time is known: the draws at
    two times are independent.
    """

    kind: Literal["measured_times"] = "measured_times"
    times: tuple[Seconds, ...] = Field(
        min_length=1, description="Ascending times since programming [s]."
    )
    std: tuple[Curve, ...] = Field(
        min_length=1,
        description="Standard deviation over r = target/g_max at each time, in full_scale's unit.",
    )
    full_scale: float = Field(
        gt=0, description="The curves' value that stands for g_max, such as 40 (uS)."
    )
    scale: float = Field(default=1.0, ge=0, description="Multiplier of every standard deviation.")
    nonnegative: ClassVar[tuple[str, ...]] = ("std",)
    signed: ClassVar[bool] = False

    @model_validator(mode="after")
    def _paired(self) -> "MeasuredTimes":
        if len(self.times) != len(self.std):
            raise ValueError(f"{len(self.times)} times but {len(self.std)} std curves")
        if any(later <= earlier for earlier, later in pairwise((0.0, *self.times))):
            raise ValueError(f"times must be positive and strictly ascending, got {self.times}")
        return self

    def coefficient(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return the target, on which the error of each time is drawn."""
        return target

    def apply(
        self,
        programmed: Tensor,
        coefficient: Tensor,
        seconds: float,
        g_max: float,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Return the target with the error of this time."""
        if seconds not in self.times:
            known = ", ".join(format_seconds(t) for t in self.times)
            raise RangeError(
                f"time {seconds:g} s: the cell was measured at {known} only; ask for one of these, "
                "or for 0 s (as programmed)"
            )
        std = self.std[self.times.index(seconds)](coefficient / g_max)
        return coefficient + (self.scale * g_max / self.full_scale) * std * draw()
