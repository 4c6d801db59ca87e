"""The draw of a device's cells: what differs from cell to cell, for life."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import SpecError
from ._device import Devices

if TYPE_CHECKING:
    from ._pulsed_device import PulsedDevice


class Normal:
    """Standard normal numbers by purpose, drawn only where a spread needs them."""

    def __init__(self, zero: Tensor, draw: Callable[[str], Tensor]) -> None:
        self.zero, self._draw = zero, draw

    def times(self, spread: float, purpose: str) -> Tensor:
        """Return spread * xi."""
        return spread * self._draw(f"device {purpose}") if spread else self.zero


def draw_cells(device: "PulsedDevice", normal: Normal, uniform: Callable[[str], Tensor]) -> Devices:
    """Draw all cells of a device; the laws are in the device's docstring.

    Raises:
        SpecError: a cell has no symmetry point, and the device asks for its subtraction.
    """
    low, high = _bounds(device, normal)
    up, down = _sizes(device, normal)
    if device.stuck:
        low, high, stuck = _stuck(device, low, high, uniform)
        up, down = up.masked_fill(stuck, 0.0), down.masked_fill(stuck, 0.0)
    shape_up, shape_down = device.shapes(low, high, up, down, normal)
    cells = Devices(
        low, high, up, down, shape_up, shape_down,
        reference=device.reference + normal.times(device.reference_spread, "reference"),
        reset=device.reset + normal.times(device.reset_spread, "reset"),
        decay=_decay(device, normal),
        diffusion=_diffusion(device, normal),
    )  # fmt: skip
    if device.subtract_symmetry_point:
        point = torch.from_numpy(device.symmetry_point(cells))
        _require(device, point)
        cells = cells._replace(reference=cells.reference + point.to(cells.reference))
    return cells


def _bounds(device: "PulsedDevice", normal: Normal) -> tuple[Tensor, Tensor]:
    mean_low, mean_high = device.mean_bounds
    low = mean_low * (1 + normal.times(device.low_spread, "low"))
    high = mean_high * (1 + normal.times(device.high_spread, "high"))
    return 0.0 - torch.minimum(low, high).abs(), torch.maximum(low, high).abs()  # no -0.0


def _sizes(device: "PulsedDevice", normal: Normal) -> tuple[Tensor, Tensor]:
    up, down = device.mean_sizes
    spread = normal.times(device.step_spread, "step")
    gain = spread.exp() if device.step_law == "log_normal" else 1 + spread
    skew = normal.times(device.asymmetry_spread, "asymmetry")
    factor_up, factor_down = one_sided(gain, device.asymmetry, skew)
    return factor_up * up, factor_down * down


def one_sided(gain: Tensor, asymmetry: float, skew: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors (up, down) of a quantity of which an asymmetry weakens one direction.

    Args:
        gain: what both directions share.
        asymmetry: positive weakens down, negative weakens up.
        skew: added to up and taken from down.
    """
    weaker_up, weaker_down = min(asymmetry, 0.0), max(asymmetry, 0.0)
    return (gain + weaker_up + skew).abs(), (gain - weaker_down - skew).abs()


def _stuck(
    device: "PulsedDevice", low: Tensor, high: Tensor, uniform: Callable[[str], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    stuck = uniform("device stuck") < device.stuck
    reach = torch.inf if device.stuck_range is None else device.stuck_range
    start, end = low.clamp(min=-reach), high.clamp(max=reach)
    level = start + (end - start) * uniform("device stuck value")
    return torch.where(stuck, level, low), torch.where(stuck, level, high), stuck


def _decay(device: "PulsedDevice", normal: Normal) -> Tensor | None:
    if device.lifetime is None:
        return None
    lifetime = device.lifetime * (1 + normal.times(device.lifetime_spread, "lifetime"))
    # A cell that lives for a mini-batch or less forgets everything within one.
    return 1 / lifetime.clamp(min=1.0)


def _diffusion(device: "PulsedDevice", normal: Normal) -> Tensor | None:
    if device.diffusion == 0:
        return None
    spread = normal.times(device.diffusion_spread, "diffusion")
    return (device.diffusion * (1 + spread)).abs()


def _require(device: "PulsedDevice", point: Tensor) -> None:
    missing = int(point.isnan().sum())
    if missing:
        raise SpecError(
            f"{missing} of {point.numel()} cells of this {device.kind} device have no symmetry "
            "point between their bounds: a step up is the larger one everywhere, or the smaller. "
            "Set subtract_symmetry_point to false, lower asymmetry, asymmetry_spread and "
            "step_spread, or take a response that saturates at both bounds, such as soft_bounds"
        )
