"""Unit cells: several devices that make one weight."""

from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field, model_validator

from ._device import Device

if TYPE_CHECKING:
    from ._pulsed_device import PulsedDevice


class UnitCell(Device):
    """Several devices whose weights add, each times its significance.

    A policy says which devices a pulse goes to. A device of negative significance gets pulses of
    the opposite direction, so that every pulse moves the weight as asked. A reference cell is two
    devices with significance [1, -1] and policy fixed: the second one is only ever written.
    Source: M. Rasch et al., AICAS 2021, arXiv 2104.02184 (IBM's aihwkit, VectorUnitCell).
    """

    kind: Literal["unit_cell"] = "unit_cell"
    devices: tuple[Device, ...] = Field(min_length=1, description="The single devices.")
    significance: tuple[float, ...] | None = Field(
        default=None, description="Factor of each device; none: one over the number of devices."
    )
    policy: Literal["all", "sequential", "random", "fixed"] = Field(
        default="all",
        description="Which devices a vector's pulses go to: all, each in turn, one at random, or "
        "always the one that `fixed` names.",
    )
    fixed: int = Field(default=0, ge=0, description="Index of that device.")

    @model_validator(mode="after")
    def _consistent(self) -> "UnitCell":
        for device in self.devices:
            single_device(device)
        if self.significance is not None:
            if len(self.significance) != len(self.devices):
                raise ValueError(
                    f"{len(self.devices)} devices but {len(self.significance)} significances"
                )
            if 0 in self.significance:
                raise ValueError("a device of significance 0 is no part of the weight")
        if self.fixed >= len(self.devices):
            raise ValueError(f"fixed={self.fixed}: there are devices 0 to {len(self.devices) - 1}")
        if self.fixed and self.policy != "fixed":
            raise ValueError(f"fixed={self.fixed} needs `policy: fixed`, got {self.policy}")
        return self

    @property
    def singles(self) -> "tuple[PulsedDevice, ...]":
        """The devices."""
        return cast("tuple[PulsedDevice, ...]", self.devices)

    @property
    def factors(self) -> tuple[float, ...]:
        """The significances."""
        count = len(self.devices)
        return (1 / count,) * count if self.significance is None else self.significance

    @property
    def granularity(self) -> float:
        """Step of the weight per pulse: of all devices together, or the mean of those in turn."""
        steps = [
            abs(factor) * device.granularity
            for factor, device in zip(self.factors, self.singles, strict=True)
        ]
        if self.policy == "all":
            return sum(steps)
        return steps[self.fixed] if self.policy == "fixed" else sum(steps) / len(steps)

    @property
    def low(self) -> float:
        """Mean lower bound of the weight, before references."""
        return sum(min(factor * end for end in ends) for factor, ends in self._ends())

    @property
    def high(self) -> float:
        """Mean upper bound of the weight, before references."""
        return sum(max(factor * end for end in ends) for factor, ends in self._ends())

    def _ends(self) -> list[tuple[float, tuple[float, float]]]:
        ranges = [(device.low, device.high) for device in self.singles]
        return list(zip(self.factors, ranges, strict=True))


def single_device(device: Device) -> "PulsedDevice":
    """Return the device itself, if it is a single one.

    Raises:
        ValueError: it is a unit cell.
    """
    if device.singles != (device,):
        raise ValueError(f"a unit cell is made of single devices, not of a {device.kind}")
    return cast("PulsedDevice", device)
