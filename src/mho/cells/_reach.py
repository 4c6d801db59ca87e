"""How large a weight the cells can take on both sides."""

from ..errors import SpecError
from ._device import Device


def reach(device: Device) -> float:
    """Return the largest |relative weight| that the mean cell can take on both sides.

    Raises:
        SpecError: there is none.
    """
    low, high = device.low, device.high
    singles = device.singles
    if singles == (device,):  # what is subtracted may be the symmetry point, which is derived
        cell = singles[0].mean_cell()
        low, high = (float(bound - cell.reference) for bound in (cell.low, cell.high))
    if min(-low, high) <= 0:
        raise SpecError(
            f"the mean cell takes relative weights from {low:g} to {high:g} only: weights have "
            "both signs, so the bounds must lie on both sides of 0; shift them, use a reference, "
            "or a pair of cells."
        )
    return min(-low, high)
