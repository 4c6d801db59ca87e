"""The hardware value: everything about the arrays that a model is put on."""

from pathlib import Path
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from ..cells import Cell, Ideal
from ..circuits import ADC, DAC, Array, ColumnDrop, Digital, Float, Noise
from ..errors import PresetError, SpecError
from ..mapping import Differential, Mapping
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
        if self.adc.bound == "calibrated" and self.dac.range is not None and self.dac.range.dynamic:
            raise ValueError(
                "a calibrated ADC bound needs an input range that does not follow the input"
            )
        if self.cell.signed != (self.mapping.kind == "signed"):  # pyright: ignore
            raise ValueError(
                "a cell of signed conductance goes with `mapping: signed`, and only with it"
            )
        return self

    @property
    def column_effects(self) -> bool:
        """Whether anything acts on a column's signal between the array and the digital side."""
        adc, noise = self.adc, self.noise
        return any((
            adc.bound is not None, adc.front_end is not None, adc.asymmetry, adc.gain_spread,
            adc.offset_spread, noise.output, noise.read is not None,
            isinstance(self.array.wires, ColumnDrop),
        ))  # fmt: skip

    @property
    def array_acts(self) -> bool:
        """Whether cells compute as anything else than their own conductances."""
        wires, combine = self.array.wires, self.array.combine
        return not (wires is None or isinstance(wires, ColumnDrop)) or not combine.plain

    @property
    def arrays_apart(self) -> bool:
        """Whether arrays that get the same input drive it differently, each by its own drivers."""
        stochastic = self.dac.half_steps is not None and self.dac.rounding == "stochastic"
        return self.noise.input > 0 or stochastic or self.adc.overflow == "retry"

    @property
    def vectors_apart(self) -> bool:
        """Whether the drive of one input depends on the vector that it is part of."""
        return self.arrays_apart or (self.dac.range is not None and self.dac.range.dynamic)

    @property
    def ideal_product(self) -> bool:
        """Whether a product with given array weights is an exact matrix product."""
        dac = self.dac
        return not (
            self.column_effects or self.noise.input or self.array.polarity_spread
            or dac.range is not None or dac.gain_spread or dac.offset_spread or dac.asymmetry
        )  # fmt: skip


def load(source: str | Path) -> Hardware:
    """Return the hardware of a preset's name or of a YAML file's path.

    Raises:
        PresetError: no such preset or file, or it is corrupt.
    """
    found = document(source)
    try:
        return Hardware(**found.fields)
    except SpecError as error:
        raise PresetError(f"{source}: {error}") from None
    except TypeError as error:
        raise PresetError(f"{source}: field names must be text ({error})") from None
