"""A product under test and the literal one beside it, from one description."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from mho.mapping import Partition, split
from mho.tiles import Columns, Convolution, Dense, Geometry, Hardware, Operand, mvm, nominal
from oracles import mvm as oracle


def hardware(**parts) -> Hardware:
    """Hardware whose inputs are in units of 1 unless a range is given."""
    dac = {"range": {"kind": "fixed", "value": 1.0}, **parts.pop("dac", {})}
    return Hardware(dac=dac, **parts)


def dense(out: int, rows: int, hw: Hardware) -> Dense:
    return Dense(out, partition(out, rows, hw), len(hw.mapping.significance))


def partition(out: int, rows: int, hw: Hardware, step: int = 1) -> Partition:
    array = hw.array
    if array.rows is not None and step > array.rows:
        step = 1
    return Partition(
        split(rows, array.rows, array.partition, step),
        split(out, array.cols, array.partition),
        array.rows,
        array.cols,
    )


@dataclass(frozen=True)
class Bench:
    """Hardware, a geometry, and weights with the converters of one chip, in float64."""

    hw: Hardware
    geometry: Geometry
    operand: Operand

    @classmethod
    def of(cls, hw: Hardware, geometry: Geometry, seed: int = 0, size: float = 0.4) -> "Bench":
        random = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=random, dtype=torch.float64)

        weight = size * normal(geometry.out, geometry.rows)
        base = nominal(weight, hw, geometry)
        shape, adc = tuple(base.scale.shape), hw.adc

        def around_one(spread: float) -> torch.Tensor | None:
            return 1 + spread * normal(*shape) if spread else None

        front = adc.front_end.offset_spread if adc.front_end else 0.0
        columns = Columns(
            gain=around_one(adc.gain_spread),
            offset=adc.offset_spread * normal(*shape) if adc.offset_spread else None,
            noise=around_one(hw.noise.output_spread),
            transfer=around_one(adc.transfer.spread if adc.transfer else 0.0),
            front_end=(front * normal(*shape)).clamp(min=0) if front else None,
        )
        rule, spread = hw.dac.range, hw.array.polarity_spread
        negative = base.weight * (1 + spread * normal(*base.weight.shape)) if spread else None
        stored = rule is not None and rule.stored
        own = adc.bound == "calibrated"
        operand = replace(
            base,
            negative=negative,
            columns=columns,
            input_range=0.8 + 0.4 * normal(geometry.parts).abs() if stored else None,
            bound=0.5 + normal(*shape).abs() if own else None,
            gain=1 + 0.1 * normal(geometry.out),
        )
        return cls(hw, geometry, operand)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        return mvm(x, self.operand, self.hw, self.geometry)

    def literal(self, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """The oracle's product of the same inputs."""
        geometry, matrix = self.geometry, self.matrix(seed)
        if not isinstance(geometry, Convolution):
            flat = x.reshape(-1, x.shape[-1])
            y = oracle.product(flat.numpy(), matrix, self.effects())
            return torch.from_numpy(y).reshape(*x.shape[:-1], geometry.out)
        vectors, (batch, *pixels) = patches(geometry, x)
        y = oracle.product(vectors, matrix, self.effects(), geometry.groups)
        return torch.from_numpy(y).reshape(batch, *pixels, geometry.out).movedim(-1, 1)

    def matrix(self, seed: int = 0) -> oracle.Matrix:
        rows, columns = self.geometry.partition.rows, self.geometry.partition.columns
        operand = self.operand
        return oracle.Matrix(
            weight=_numpy(operand.weight),
            scale=_numpy(operand.scale),
            rows=rows,
            columns=columns,
            significance=operand.significance,
            negative=_numpy(operand.negative),
            gain=_numpy(operand.gain),
            rng=np.random.default_rng(seed),
        )

    def effects(self) -> oracle.Effects:
        hw, columns = self.hw, self.operand.columns
        array, dac, adc, noise = hw.array, hw.dac, hw.adc, hw.noise
        scheme = dac.scheme.kind
        if scheme == "positive_negative" and dac.scheme.sum == "digital":
            scheme = "positive_negative_digital"
        effects = oracle.Effects(
            input_range=self._range(),
            dac_half_steps=dac.half_steps,
            dac_stochastic=dac.rounding == "stochastic",
            input_noise=noise.input,
            input_asymmetry=dac.asymmetry,
            scheme=scheme,
            slice_bits=getattr(dac.scheme, "slice_bits", 1),
            output_noise=noise.output,
            output_noise_factor=_numpy(columns.noise),
            output_asymmetry=adc.asymmetry,
            bound=_numpy(self.operand.bound) if adc.bound == "calibrated" else adc.bound,
            adc_half_steps=adc.half_steps,
            adc_stochastic=adc.rounding == "stochastic",
            adc_gain=_numpy(columns.gain),
            adc_offset=_numpy(columns.offset),
            retry=adc.overflow == "retry",
            extend=adc.overflow == "extend",
        )
        if array.wires:
            effects.ir_drop = array.wires.scale
            effects.wire_ratio = array.wires.conductance_ratio
        if adc.front_end:
            effects.front_end = True
            effects.voltage_offset = _numpy(columns.front_end)
            effects.reference_weight = adc.front_end.reference_weight
            effects.series_resistance = adc.front_end.series_resistance
        if noise.read:
            effects.read_noise = noise.read.sigma
            effects.read_noise_kind = {"additive": "additive", "pcm_read": "pcm"}[noise.read.kind]
        if adc.transfer:
            effects.nonlinearity = adc.transfer.nonlinearity
            effects.nonlinearity_factor = _numpy(columns.transfer)
            effects.slope_calibration = adc.transfer.slope_calibration
        return effects

    def _range(self) -> float | np.ndarray | str | None:
        rule = self.hw.dac.range
        if rule is None:
            return None
        if rule.kind == "per_token":
            return "per_token"
        return _numpy(self.operand.input_range) if rule.stored else rule.value

    def rounding(self, x: torch.Tensor) -> float:
        """What rounding may add to an output.

        A sum of n products is off by at most n eps sum |w x|, the few dozen operations after it by
        eps each; no curve used here is steeper than 4.
        """
        magnitude = x.abs().max() * self.operand.weight.abs().sum(1).max()
        eps = torch.finfo(x.dtype).eps
        return float(4 * eps * (self.geometry.rows + 64) * magnitude.clamp(min=1))

    def check(self, x: torch.Tensor) -> None:
        """Hold the product against the literal one; only deterministic effects may be on."""
        got, expected = self.product(x), self.literal(x)
        assert got.shape == expected.shape
        worst = float((got - expected).abs().max())
        assert worst <= self.rounding(x), f"off by {worst:g}, allowed {self.rounding(x):g}"


def patches(geometry: Convolution, x: torch.Tensor) -> tuple[np.ndarray, tuple[int, ...]]:
    """The vectors of a convolution, (vectors, channels * positions), and (batch, *pixels)."""
    options = (geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)
    if geometry.transposed:
        return oracle.transposed_patches(x.numpy(), *options, geometry.output_padding)
    return oracle.patches(x.numpy(), *options, geometry.mode)


def inputs(*shape: int, seed: int = 1, size: float = 0.6) -> torch.Tensor:
    """Inputs some of which are beyond a range of 1; a vector is zero where there are several."""
    x = size * torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    if shape[0] > 2:
        x[-1] = 0
    return x


def _numpy(values: torch.Tensor | None) -> np.ndarray | None:
    return None if values is None else values.detach().double().numpy()
