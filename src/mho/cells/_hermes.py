"""The unit cells of IBM's HERMES Project Chip: one or two phase-change devices per polarity."""

from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from ..spec import Siemens
from ._cell import Cell
from ._curves import ClippedLog, Piecewise, Polynomial
from ._drift import Drift, PowerLaw
from ._programming import Gaussian, Programming
from ._read import Flicker, Read


class _Published(NamedTuple):
    g_max: float
    programming: Gaussian
    drift: PowerLaw
    read: Flicker


_NU_MEAN = Piecewise(
    split=0.0945,
    below=ClippedLog(slope=-0.0387, intercept=-0.0182, low=0.0720, high=0.13),
    above=Polynomial(coefficients=(0.0736, -0.0126, -0.0436)),
)
_ONE = _Published(
    g_max=10.35e-6,
    programming=Gaussian(
        std=Polynomial(coefficients=(0.15781817, 2.32443916, -2.16310839, 0.68841818)),
        full_scale=10.35,
    ),
    drift=PowerLaw(
        nu_mean=_NU_MEAN,
        nu_std=Piecewise(
            split=0.3039,
            below=ClippedLog(slope=-0.0120, intercept=-0.0023, low=0.0124, high=0.04),
            above=Polynomial(coefficients=(0.0104, 0.0116, -0.0165)),
        ),
        t0=200.0,
    ),
    read=Flicker(
        q=Piecewise(
            split=0.1591,
            below=ClippedLog(slope=-0.0078, intercept=0.0038, low=0.0179, high=0.04),
            above=Polynomial(coefficients=(0.0088, 0.0768, -0.1352, 0.0664)),
        ),
        t_read=512e-9,
        t0=200.0,
    ),
)
_TWO = _Published(
    g_max=20.7e-6,
    programming=Gaussian(
        std=Polynomial(coefficients=(0.16603222, 4.71806468, -8.48101252, 4.68961419)),
        full_scale=20.7,
    ),
    drift=PowerLaw(
        nu_mean=_NU_MEAN,
        nu_std=Piecewise(
            split=0.3055,
            below=ClippedLog(slope=-0.0117, intercept=-0.0057, low=0.0091, high=0.04),
            above=Polynomial(coefficients=(0.0073, 0.0093, -0.0118)),
        ),
        t0=300.0,
    ),
    read=Flicker(
        q=Piecewise(
            split=0.16,
            below=ClippedLog(slope=-0.0117, intercept=-0.0069, low=0.015, high=0.04),
            above=Polynomial(coefficients=(0.0123, 0.0211, -0.0280, 0.0069)),
        ),
        t_read=512e-9,
        t0=300.0,
    ),
)
_PUBLISHED = {1: _ONE, 2: _TWO}


class Hermes(Cell):
    """Phase-change unit cell of the HERMES Project Chip, with one or two devices per polarity.

    Fits to the chip of Le Gallo et al., Nat. Electron. 6:680, 2023
    (doi:10.1038/s41928-023-01010-1) and Khaddam-Aljameh et al., IEEE JSSC 57:1027, 2022
    (doi:10.1109/JSSC.2022.3140414), as published in IBM's aihwkit. Two devices are
    programmed by the method of Vasilopoulos et al., IEEE TED, 2023 (ieeexplore 10281389); their
    drift is that of two devices of equal conductance, worse than on the chip. The laws were
    characterized up to 10.35 uS (one device) and 20.7 uS (two). What is not given is filled in for
    that number of devices.
    """

    kind: Literal["hermes"] = "hermes"
    devices: Literal[1, 2] = Field(
        default=2, description="Phase-change devices per polarity: 1 or 2."
    )
    g_max: Siemens = Field(
        default=_TWO.g_max, gt=0, description="Largest target [S]: up to 10.35 uS or 20.7 uS."
    )
    programming: Programming | None = Field(
        default=_TWO.programming, description="Error of programming."
    )
    drift: Drift | None = Field(default=_TWO.drift, description="Change of conductance with time.")
    read: Read | None = Field(
        default=_TWO.read, description="1/f noise accumulated until the cell is read."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("devices") == 1:
            return {**_ONE._asdict(), **data}
        return data

    @model_validator(mode="after")
    def _characterized(self) -> "Hermes":
        own, other = _PUBLISHED[self.devices], _PUBLISHED[3 - self.devices]
        way_out = f"write {{kind: hermes, devices: {self.devices}}} to get the laws of that many"
        if self.g_max > own.g_max * (1 + 1e-9):
            raise ValueError(
                f"g_max={self.g_max * 1e6:g} uS: devices={self.devices} was characterized up to "
                f"{own.g_max * 1e6:g} uS; lower g_max, or {way_out}"
            )
        for name in ("programming", "drift", "read"):
            if getattr(self, name) == getattr(other, name):
                raise ValueError(f"{name} is the law of devices={3 - self.devices}; {way_out}")
        return self
