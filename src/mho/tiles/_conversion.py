"""Converters by themselves, without an array in front of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..circuits import ADC
from ..mapping import Partition
from ._column import Signal
from ._converters import Source, read_out
from ._geometry import Dense
from ._hardware import Hardware
from ._operand import NOMINAL, Operand, Setting
from ._read_out import converted


def conversion(adc: ADC, count: int, source: Source | None) -> Callable[[Tensor], Tensor]:
    """Return what `count` converters of one array make of signals.

    The function takes signals (n, count) relative to the bound and returns codes, or signals
    without levels. It has the transfer curve, gain, offset, thresholds and noise of conversion; the
    front end and noise of the array are no part of it.

    Args:
        adc: the converters, each its own, whatever `columns_per_converter` says.
        count: how many there are.
        source: draws of the chip; None for nominal converters.
    """
    hardware = Hardware(
        adc=adc.with_fields(columns_per_converter=1, front_end=None),
        dac={"range": {"kind": "fixed"}},  # pyright: ignore[reportArgumentType]
    )
    geometry = Dense(count, Partition((1,), (count,), None, None))
    columns = NOMINAL if source is None else read_out(hardware, geometry, source)
    ones = torch.ones(1, count)
    own = ones if adc.bound_per_column else None
    setting = Setting(Operand(ones.T, ones, columns=columns, bound=own), hardware, geometry, 1.0)
    bound = adc.bound if isinstance(adc.bound, float | int) else 1.0

    def convert(u: Tensor) -> Tensor:
        return converted(Signal(u * bound, None, None), setting)

    return convert
