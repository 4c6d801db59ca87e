"""Pairs of devices that are only ever pulsed up, as phase-change memory is."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from ._device import Device
from ._pulsed_device import mean_steps
from ._unit_cell import single_device

if TYPE_CHECKING:
    from ._pulsed_device import PulsedDevice


class OneSidedPair(Device):
    """Two devices of one kind, weight g+ - g-, of which a pulse raises one or the other.

    For devices that go up in small steps and down only all the way, by a reset. Pulses down are
    pulses up on g-. As both fill up, a refresh resets cells and writes their weight anew: those of
    which the larger device is above `upper` of its upper bound, and the smaller one above `lower`.
    Source: S. R. Nandakumar et al., Front. Neurosci. 14:406, 2020; M. Rasch et al., AICAS 2021,
    arXiv 2104.02184 (IBM's aihwkit, OneSidedUnitCell).
    """

    kind: Literal["one_sided_pair"] = "one_sided_pair"
    device: Device = Field(description="Each of the two devices.")
    refresh_every: int | None = Field(
        default=None, ge=1, description="Mini-batches between refreshes. None never refreshes."
    )
    upper: float = Field(
        default=0.75, gt=0, le=1, description="Relative state of the larger device to refresh at."
    )
    lower: float = Field(
        default=0.25, ge=0, le=1, description="Relative state of the smaller device, likewise."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "OneSidedPair":
        device = single_device(self.device)
        if device.high == 0:
            raise ValueError("devices that only go up need an upper bound above 0")
        if device.subtract_symmetry_point:
            raise ValueError("devices that only go up have no symmetry point to subtract")
        if self.lower > self.upper:
            raise ValueError(f"lower={self.lower:g} must not exceed upper={self.upper:g}")
        return self

    @property
    def singles(self) -> "tuple[PulsedDevice, ...]":
        """The device for g+ and the one for g-."""
        device = single_device(self.device)
        return device, device

    @property
    def factors(self) -> tuple[float, ...]:
        """Plus and minus one."""
        return 1.0, -1.0

    @property
    def granularity(self) -> float:
        """Mean step up of a device whose own weight is 0, that is, after a refresh."""
        return mean_steps(single_device(self.device))[0]  # pyright: ignore[reportArgumentType]

    @property
    def low(self) -> float:
        """Minus the upper bound: g- full and g+ reset."""
        return -single_device(self.device).high

    @property
    def high(self) -> float:
        """The upper bound: g+ full and g- reset."""
        return single_device(self.device).high
