"""The hardware value: everything about the arrays that a model is put on."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from ..cells import Cell, Ideal
from ..circuits import (
    ADC,
    DAC,
    Array,
    Column,
    ColumnDrop,
    Combine,
    Digital,
    Float,
    LineResistance,
    Noise,
)
from ..errors import PresetError, SpecError
from ..mapping import Differential, Mapping, Offset
from ..spec import Spec, Variant, document, nearest


class Hardware(Spec):
    """One description of analog in-memory hardware. With no argument, everything is ideal."""

    cell: Cell = Field(
        default=Ideal(), description="The memory cell: programming, drift, noise, faults."
    )
    array: Array = Field(default=Array(), description="Array size, partition and wires.")
    mapping: Mapping = Field(default=Differential(), description="Weights to conductances.")
    dac: DAC = Field(default=DAC(), description="Converters that drive the rows.")
    adc: ADC = Field(default=ADC(), description="Converters that read the columns.")
    noise: Noise = Field(default=Noise(), description="Noise drawn anew for every product.")
    digital: Digital = Field(default=Float(), description="Scales, offsets and partial sums.")

    @model_validator(mode="before")
    @classmethod
    def _parts_of_presets(cls, data: Any) -> Any:
        """Let a field name a preset, and take its part of that name: `cell: pcm-joshi-2020`."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name in cls.model_fields.keys() & data.keys():
            value, family = data[name], cls.model_fields[name].annotation
            members = (
                family.members if isinstance(family, type) and issubclass(family, Variant) else {}
            )
            if isinstance(value, str) and value not in members:
                try:
                    fields = document(value).fields
                except PresetError as error:
                    kinds = f"; known kinds: {', '.join(sorted(members))}" if members else ""
                    raise ValueError(f"{name}: {error}{nearest(value, members)}{kinds}") from None
                if name not in fields:
                    raise ValueError(f"preset {value!r} says nothing about {name!r}")
                data[name] = fields[name]
        return data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler.resolve_ref_schema(handler(schema))
        named = {"type": "string", "description": "A preset or file: its part of this name."}
        for field in described["properties"].values():
            own = {key: field.pop(key) for key in ("$ref", "family") if key in field}
            field["anyOf"] = [own, named]
        return described

    @model_validator(mode="after")
    def _consistent(self) -> "Hardware":
        if self.dac.range is None and (
            self.column_effects or self.noise.input or self.dac.offset_spread
        ):
            raise ValueError(
                "noise, ADC bounds and wires are in units of input range x weight scale: give "
                "dac.range, such as {kind: fixed, value: 1}, calibrated, learned or per_token"
            )
        if self.array.polarity_spread and self.dac.scheme.kind != "positive_negative":  # pyright: ignore
            raise ValueError("array.polarity_spread needs dac.scheme: positive_negative")
        if self.adc.bound_from_data and self.dac.range is not None and self.dac.range.dynamic:
            raise ValueError(
                "a calibrated ADC bound needs an input range that does not follow the input"
            )
        if self.digital.integers and self.adc.half_steps is None:
            raise ValueError(
                f"digital: {self.digital.kind} computes with the codes of the ADC: give adc.bits "  # pyright: ignore
                "(2 to 16) and adc.bound, or use `digital: half` or `digital: float`"
            )
        if self.digital.integers and self.dac.range is not None and self.dac.range.dynamic:
            raise ValueError(
                f"digital: {self.digital.kind} has one scale for all vectors: give an input range "  # pyright: ignore
                "that does not follow the input (fixed, calibrated or learned)"
            )
        self._check_rule(self.array.combine)
        self._check_codes()
        self._check_network()
        if self.cell.signed != (self.mapping.kind == "signed"):  # pyright: ignore
            raise ValueError(
                "a cell of signed conductance goes with `mapping: signed`, and only with it"
            )
        return self

    def _check_rule(self, combine: Combine) -> None:
        complementary = self.mapping.complementary
        problem = combine.misfit(
            self.array.wires, self.dac, self.adc, self.noise
        ) or combine.cells_misfit(self.cell.g_min, complementary)
        if problem is None and not combine.plain and self.cell.signed:
            problem = "a cell of signed conductance stands for two; give one of single devices"
        if problem is None and combine.analog_sum and self._digital_decoding:
            problem = (
                "with a gain, amplifiers read the devices of a weight against each other, and "
                "nothing is added digitally: give a mapping without digital slices and with both "
                "signs on the array, such as differential, ternary, or `reference: cell`"
            )
        if problem is not None:
            raise ValueError(f"array.combine: {combine.kind}: {problem}")  # pyright: ignore

    @property
    def _digital_decoding(self) -> bool:
        """Whether the digital side adds something to the signals of a weight's devices."""
        mapping, cell = self.mapping, self.cell
        silent = mapping.decode(torch.zeros(mapping.planes, 1, 1), cell.g_min, cell.g_max)
        return len(mapping.significance) > 1 or bool(silent.any())

    def _check_codes(self) -> None:
        cell, mapping = self.cell, self.mapping
        if cell.mappings is not None and mapping.kind not in cell.mappings:  # pyright: ignore
            raise ValueError(
                f"cell: {cell.kind} holds a few states only, which `mapping: {mapping.kind}` does "  # pyright: ignore
                f"not keep to: give `mapping: {' or '.join(cell.mappings)}`"
            )
        if isinstance(mapping, Offset):
            bits = getattr(cell, "bits", mapping.bits)
            if mapping.bits > bits:
                raise ValueError(f"mapping.bits {mapping.bits} is more than the cell's {bits}")
            if cell.g_min > 0:
                raise ValueError("mapping: offset counts codes from 0: give the cell a g_min of 0")

    def _check_network(self) -> None:
        """What a network of wires and cells has no meaning for."""
        wires, dac = self.array.wires, self.dac
        if dac.scheme.kind == "pulse_width" and self.noise.input:  # pyright: ignore
            raise ValueError("pulses of one amplitude have no noise.input; give noise.output")
        if wires is None or isinstance(wires, ColumnDrop):
            return
        if not wires.per_vector:
            return
        if not self.array.combine.plain:
            raise ValueError("gated or curved cells need array.combine: current_sum")
        if dac.gain_spread or dac.offset_spread or self.array.polarity_spread:
            raise ValueError(
                "gated or curved cells are not linear in the drive, so that spreads of row drivers "
                "and polarities are not defined: leave out dac.gain_spread, dac.offset_spread and "
                "array.polarity_spread"
            )
        if not wires.gated:
            if dac.range is None:
                raise ValueError("curved cells need a voltage: give dac.range, the input at it")
            return
        if not dac.scheme.binary and dac.half_steps != 1:
            raise ValueError(
                "gated cells are open or not: give dac.scheme: pulse_width, {kind: bit_serial, "
                "slice_bits: 1}, or dac.bits: 1"
            )
        if dac.asymmetry or self.noise.input:
            raise ValueError(
                "rows only open gated cells, so that their amplitude has no asymmetry or noise: "
                "leave out dac.asymmetry and noise.input"
            )

    def consequences(self) -> list[tuple[str, str, str]]:
        """See `Spec.consequences`: what wires do to a full array of middling cells."""
        array, cell = self.array, self.cell
        if not isinstance(array.wires, LineResistance) or None in (array.rows, array.cols):
            return []
        planes = 2 if cell.signed else self.mapping.planes
        middle = (cell.g_min + cell.g_max) / 2
        found, method = array.wires.diagnosis(planes, array.cols or 1, array.rows or 1, middle)
        meaning = (
            "Largest eigenvalue of the wires' drops with all cells midway; far below 1, wires do "
            f"not matter. Solved by: {method}."
        )
        return [("array.wires: lambda_max", f"{found:.3g}", meaning)]

    @property
    def column_effects(self) -> bool:
        """Whether anything acts on a column's signal between the array and the digital side."""
        adc, noise = self.adc, self.noise
        return any((
            adc.bound is not None, adc.front_end is not None, adc.asymmetry, adc.gain_spread,
            adc.offset_spread, noise.output, noise.read is not None,
            self.wires_per_product,
            self.array.combine.noise(Column(1, self.cell.g_min, self.cell.g_max, 1)),
        ))  # fmt: skip

    @property
    def array_acts(self) -> bool:
        """Whether cells compute as anything else than their own conductances."""
        solved = self.array.wires is not None and not self.wires_per_product
        return solved or not self.array.combine.plain

    @property
    def wires_per_product(self) -> bool:
        """Whether wires take a drop off the signals of every product."""
        wires = self.array.wires
        return wires is not None and (isinstance(wires, ColumnDrop) or wires.per_vector)

    @property
    def arrays_apart(self) -> bool:
        """Whether arrays that get the same input drive it differently, each by its own drivers."""
        stochastic = self.dac.half_steps is not None and self.dac.rounding == "stochastic"
        return self.noise.input > 0 or stochastic or self.adc.overflow == "retry"

    @property
    def vectors_apart(self) -> bool:
        """Whether the drive of one input depends on the vector that it is part of."""
        dynamic = self.dac.range is not None and self.dac.range.dynamic
        gated = self.array.wires is not None and self.array.wires.per_vector
        return self.arrays_apart or dynamic or gated

    @property
    def ideal_product(self) -> bool:
        """Whether a product with given array weights is an exact matrix product."""
        dac = self.dac
        return not (
            self.column_effects or self.noise.input or self.array.polarity_spread
            or dac.range is not None or dac.gain_spread or dac.offset_spread or dac.asymmetry
            or not self.digital.native
        )  # fmt: skip


def load(source: str | Path) -> Hardware:
    """Return the hardware of a preset's name or of a YAML file's path.

    Raises:
        PresetError: no such preset or file, or it is corrupt.
    """
    found = document(source)
    if "core" in found.fields:
        raise PresetError(
            f"{source} is a chip: take the hardware of its arrays, "
            f"mho.load({str(source)!r}).hardware"
        )
    try:
        return Hardware(**found.fields)
    except SpecError as error:
        raise PresetError(f"{source}: {error}") from None
    except TypeError as error:
        raise PresetError(f"{source}: field names must be text ({error})") from None
