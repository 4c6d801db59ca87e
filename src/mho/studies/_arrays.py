"""A model on arrays for a while, and on other hardware for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ..deploy import Forward, calibrate
from ..errors import ConversionError, DataError
from ..nn import convert, converted, restore, sites
from ..tiles import Hardware, load


@contextmanager
def on_arrays(
    model: nn.Module,
    hardware: Hardware | str | Path | None,
    data: list[Any] | None,
    forward: Forward | None,
) -> Iterator[Hardware]:
    """Give the hardware of a converted model; put a digital one on hardware for a while."""
    wanted = load(hardware) if isinstance(hardware, str | Path) else hardware
    if any(True for _ in sites(model)):
        used = list(dict.fromkeys(site.crossbar.hardware for site in converted(model)))
        if len(used) > 1 or (wanted is not None and used != [wanted]):
            raise ConversionError(
                "the model is on several values of hardware, or on another than the one given: "
                "mho.restore(model) and study one at a time, or leave out `hardware`."
            )
        yield used[0]
        return
    if wanted is None:
        raise ConversionError("give the hardware, or call mho.convert(model, hardware) first.")
    stored = wanted.dac.range is not None and wanted.dac.range.stored
    if data is None and (stored or wanted.adc.bound_from_data):
        raise DataError(
            "this hardware takes its input ranges or ADC bounds from data: give `batches`."
        )
    convert(model, wanted)
    try:
        if data is not None:
            calibrate(model, data, forward=forward)
        yield wanted
    finally:
        restore(model)


@contextmanager
def with_hardware(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Let every crossbar be of other hardware for a while, on the same arrays and ranges."""
    found = [site.crossbar for site in converted(model)]
    before = [crossbar.hardware for crossbar in found]
    for crossbar in found:
        crossbar.hardware = hardware
    try:
        yield
    finally:
        for crossbar, value in zip(found, before, strict=True):
            crossbar.hardware = value
