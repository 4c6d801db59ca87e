"""Chip instances in time: program, at, erase."""

from typing import Any

from torch import nn

from ..errors import RangeError
from ..nn import converted
from ..spec import seconds
from ._model import programmed
from ._programming_method import ProgrammingMethod, chosen


def program(
    model: nn.Module,
    *,
    seed: int = 0,
    method: ProgrammingMethod | str | dict[str, Any] = "direct",
) -> nn.Module:
    """Write the model's weights onto the cells of chip instance `seed`, in place.

    Everything that tells one chip from another (programming errors, drift exponents, stuck cells,
    the spread of converters) is drawn from named streams of the seed: the same seed gives the same
    chip for any batch size, device, dtype, and order of calls. The clock stands at 0 s. The weights
    themselves stay as they are; programming again starts from them anew.

    Args:
        model: a converted model.
        seed: number of the chip instance.
        method: how the cells get their weights. `"direct"`: the targets, with the errors of the
            cell's programming law. `"as_trained"`: they hold the weights already, as arrays do that
            were trained in memory, so there is no such error. `mho.WriteVerify(...)`: by pulses on
            the cell's device, read after read. `mho.GradientDescent(...)`: by pulses along the
            gradient of the error of products. See `mho.programming_report` of the last two.

    Raises:
        LifecycleError: the model is not converted.
        SpecError: an unknown method, or the hardware lacks what it needs, such as a device.
        DataError: a weight is not finite. Nothing was programmed then.
        RangeError: a weight exceeds the mapping's fixed scale, or the seed is negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise RangeError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed!r}.")
    write = chosen(method).write
    found = converted(model)
    # All or nothing: a weight or a law that refuses leaves every layer as it was.
    chips = [site.crossbar.new_chip(site.matrix, seed, write) for site in found]
    for site, chip in zip(found, chips, strict=True):
        site.crossbar.set_chip_state(chip)
    return model


def at(model: nn.Module, time: str | float) -> nn.Module:
    """Set the clock of a programmed model, in place: time since programming.

    Idempotent and reversible: the arrays are a function of the chip instance and the time alone.
    Digital corrections made by `mho.compensate` stay as they are until it is called again.

    Args:
        model: a programmed model.
        time: `"1 s"`, `"30 d"`, `"1 y"`, or seconds.

    Raises:
        LifecycleError: the model is not programmed.
        SpecError: not a time, or negative.
        RangeError: the cell's law has no meaning at that time.
    """
    moment = seconds(time)
    found = programmed(model, "at")
    # All or nothing: a law that refuses the time leaves every layer at the old one.
    moments = [site.crossbar.present_at(moment) for site in found]
    for site, now in zip(found, moments, strict=True):
        site.crossbar.set_clock(moment, now)
    return model


def erase(model: nn.Module) -> nn.Module:
    """Forget the chip instance, in place: layers compute with the digital targets again."""
    for site in converted(model):
        site.crossbar.erase()
    return model
