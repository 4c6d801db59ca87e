"""Arrays over their life: scales, what programming leaves, and the converters of a chip."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mho.cells import Ideal, Pcm
from mho.errors import DataError, LifecycleError, RangeError
from mho.ops import Stream
from mho.tiles import Dense, Hardware, Operand, column_scale, mvm, nominal, present, program
from mho.tiles._chip import sites
from oracles import mvm as oracle

from .bench import Bench, dense, hardware, inputs, partition
from .statistics import ERRORS
from .test_convolution import PLAIN, convolution
from .test_effects import ARRAYS, SCHEMES, merged

SIZES = {"array": {"rows": 7, "cols": 5}}
STREAM = Stream(3, "layer")


def weight_of(geometry, size=0.4) -> torch.Tensor:
    random = torch.Generator().manual_seed(2)
    return size * torch.randn(geometry.out, geometry.rows, generator=random)


def operand_at(hw, geometry, seconds=0.0, stream=STREAM) -> Operand:
    """The operand of a chip instance, in float64."""
    programmed = program(weight_of(geometry), hw, geometry, stream)
    now = present(programmed, hw, geometry, stream, seconds)
    columns = type(now.columns)(*(None if c is None else c.double() for c in now.columns))
    return Operand(
        now.weight.double(),
        programmed.scale.repeat(1, geometry.slices).double(),
        hw.mapping.significance,
        None if now.negative is None else now.negative.double(),
        columns,
    )


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("scaling", ["column", "tile"])
def test_scales(scaling, array):
    """The largest |w| of each column of an array, or of each whole array."""
    hw = hardware(mapping={"kind": "differential", "scaling": scaling}, array=array)
    geometry = dense(11, 17, hw)
    w = weight_of(geometry)
    w[3] = 0
    scale = column_scale(w, hw.mapping.scaling, geometry)
    top = 0
    for r, rows in enumerate(geometry.partition.rows):
        left = 0
        for columns in geometry.partition.columns:
            block = w[left : left + columns, top : top + rows].abs()
            for i in range(columns):
                largest = block[i].max() if scaling == "column" else block.max()
                if largest == 0:  # any scale will do: that of the largest weight beside it
                    largest = w[:, top : top + rows].abs().max()
                assert scale[r, left + i] == largest
            left += columns
        top += rows


def test_fixed_scale():
    hw = hardware(mapping={"kind": "differential", "scaling": "fixed", "w_max": 2.5})
    geometry = dense(11, 17, hw)
    assert (column_scale(weight_of(geometry), "fixed", geometry, hw.mapping.w_max) == 2.5).all()


@pytest.mark.parametrize("kind", ["differential", "single", "pairs", "bit_sliced", "table"])
def test_ideal_cells_hold_the_weight(kind):
    """What is programmed on ideal cells is what `nominal` says, to float32."""
    hw = hardware(mapping=kind, **SIZES)
    geometry = dense(11, 17, hw)
    w = weight_of(geometry)
    expected = nominal(w, hw, geometry)
    got = operand_at(hw, geometry, seconds=1e6)
    assert got.significance == expected.significance
    assert (got.weight - expected.weight).abs().max() <= 8 * 1.2e-7 * w.abs().max()
    per_slice = got.weight.unflatten(0, (geometry.slices, -1))
    total = torch.einsum("s,soi->oi", torch.tensor(got.significance).double(), per_slice)
    resolution = 0.5 / 127 * float(w.abs().max()) if kind == "bit_sliced" else 0.0
    assert (total - w).abs().max() <= resolution + 8 * 1.2e-7 * w.abs().max()


def test_what_cannot_be_programmed():
    hw = hardware(mapping={"kind": "differential", "scaling": "fixed", "w_max": 0.5})
    geometry = dense(3, 4, hw)
    with pytest.raises(RangeError, match=r"layer: \|w\| reaches 0.75, above mapping.w_max = 0.5"):
        program(torch.full((3, 4), -0.75), hw, geometry, STREAM)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="layer has values that are not finite"):
            program(torch.full((3, 4), bad), hw, geometry, STREAM)


def test_an_uncalibrated_range_is_no_range():
    hw = hardware(dac={"range": "calibrated"})
    with pytest.raises(LifecycleError, match="calibrate it"):
        mvm(torch.ones(1, 4), Operand(torch.ones(3, 4), torch.ones(1, 3)), hw, dense(3, 4, hw))


def test_another_partition_keeps_every_weights_cells():
    """Cells are drawn over the matrix, not over the arrays."""
    aged = []
    for array in ARRAYS.values():
        mapping = {"kind": "differential", "scaling": "fixed", "w_max": 3.0}
        hw = Hardware(cell=Pcm(), mapping=mapping, array=array)
        aged.append(operand_at(hw, dense(11, 17, hw), seconds=3600.0).weight)
    assert torch.equal(aged[0], aged[1])
    assert torch.equal(aged[0], aged[2])


@pytest.mark.parametrize("scheme", ["one_pass", "analog", "digital", "serial_2"])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_row_drivers(array, scheme):
    """Each array has its own: v_j becomes v_j (1 + g_j) + o_j, for each read."""
    spreads = {"bits": 7, "gain_spread": 0.1, "offset_spread": 0.1}
    hw = hardware(**merged({"dac": spreads}, array, **SCHEMES[scheme]))
    geometry = dense(11, 17, hw)
    check_drivers(Bench(hw, geometry, operand_at(hw, geometry)), inputs(5, 17))


def test_row_drivers_of_a_convolution():
    """A pixel is driven on another row for every patch."""
    hw = hardware(**merged({"dac": {"gain_spread": 0.1, "offset_spread": 0.1}}, {"rows": 7}))
    geometry = convolution(hw, PLAIN)
    check_drivers(Bench(hw, geometry, operand_at(hw, geometry)), inputs(2, 4, 3, 3))


def check_drivers(bench: Bench, x: torch.Tensor) -> None:
    geometry = bench.geometry
    shape = (len(geometry.partition.columns), geometry.rows)
    gain, offset = (
        0.1 * STREAM.normal(name, shape).double() for name in ("dac gain", "dac offset")
    )
    ideal = bench.hw.with_fields(dac=bench.hw.dac.with_fields(gain_spread=0, offset_spread=0))
    plain = Bench(bench.hw, geometry, operand_at(ideal, geometry))

    class Driven(Bench):
        def matrix(self, seed: int = 0) -> oracle.Matrix:
            nominal = plain.matrix(seed)
            return replace(nominal, driver_gain=gain.numpy(), driver_offset=offset.numpy())

    expected = Driven(bench.hw, geometry, plain.operand).literal(x)
    # Chips are float32: a rounding error of each weight, gain and offset.
    size = float(bench.operand.weight.abs().sum(1).max() * x.abs().max().clamp(min=1))
    assert (bench.product(x) - expected).abs().max() <= 16 * 1.2e-7 * size


def test_converters_of_a_chip():
    """Spread, centre and independence over 1e5 columns."""
    n = 100_000
    hw = hardware(
        dac={"scheme": "positive_negative"},
        adc={
            "bound": 1.0,
            "gain_spread": 0.05,
            "offset_spread": 0.02,
            "transfer": {"kind": "compressive", "nonlinearity_spread": 0.1},
            "front_end": {"offset_spread": 0.03},
        },
        noise={"output": 0.1, "output_spread": 0.2},
        array={"polarity_spread": 0.1},
    )
    geometry = Dense(n, partition(n, 1, hw))
    operand = operand_at(hw, geometry)
    columns = operand.columns
    spreads = {"gain": (1, 0.05), "offset": (0, 0.02), "noise": (1, 0.2), "transfer": (1, 0.1)}
    for name, (centre, spread) in spreads.items():
        value = getattr(columns, name)[0]
        assert abs(float(value.mean()) - centre) < ERRORS * spread / n**0.5
        assert abs(float(value.std()) / spread - 1) < ERRORS / (2 * n) ** 0.5
    # Half of the voltage offsets are 0, the rest half-normal: mean s / sqrt(2 pi).
    front = columns.front_end[0]
    assert (front >= 0).all()
    assert abs(float((front == 0).double().mean()) - 0.5) < ERRORS * 0.5 / n**0.5
    assert abs(float(front.mean()) - 0.03 / (2 * np.pi) ** 0.5) < ERRORS * 0.03 / n**0.5
    ratio = (operand.negative / operand.weight)[:, 0]
    assert abs(float(ratio.std()) / 0.1 - 1) < ERRORS / (2 * n) ** 0.5
    drawn = torch.stack([getattr(columns, name)[0] for name in spreads] + [ratio])
    correlation = torch.corrcoef(drawn) - torch.eye(5)
    assert correlation.abs().max() < ERRORS / n**0.5


def test_a_chip_is_its_names():
    """Of seed and layer, whatever was drawn before; and each row-slice has its own converters."""
    hw = hardware(adc={"gain_spread": 0.05, "bound": 1.0}, dac={"gain_spread": 0.1}, **SIZES)
    geometry = dense(11, 17, hw)
    first = operand_at(hw, geometry)
    torch.randn(100)
    again = operand_at(hw, geometry)
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.columns.gain, again.columns.gain)
    for other in (Stream(4, "layer"), Stream(3, "next")):
        assert not torch.equal(operand_at(hw, geometry, stream=other).weight, first.weight)
    assert len(first.columns.gain.unique()) == 3 * 11


def test_sites_are_physical_positions():
    hw = hardware(**SIZES)
    where = sites(dense(11, 17, hw))
    assert where.row.tolist() == [*range(6), *range(6), *range(5)]
    assert where.column.tolist() == [*range(4), *range(4), *range(3)]


def test_scale_is_that_of_the_target_for_ever():
    """Drift lowers weights, not the digital scale that they are multiplied with."""
    hw = Hardware(cell=Pcm())
    geometry = dense(11, 17, hw)
    fresh, old = operand_at(hw, geometry), operand_at(hw, geometry, seconds=3e7)
    assert torch.equal(fresh.scale, old.scale)
    assert old.weight.abs().mean() < 0.7 * fresh.weight.abs().mean()
    assert operand_at(Hardware(cell=Ideal()), geometry, seconds=3e7).weight.allclose(
        weight_of(geometry).double(), atol=1e-6
    )


def test_a_column_of_zeros_has_the_scale_of_the_largest_weight_beside_it():
    hw = hardware(array={"rows": 2, "cols": None})
    weight = torch.tensor([[0.5, -0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.2, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, 0.5, 0.2], [1.0, 1.0, 1.0]])
    assert torch.equal(column_scale(weight, hw.mapping.scaling, dense(3, 4, hw)), expected)
