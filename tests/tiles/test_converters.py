"""Real converters behind arrays: every layout of a product, sharing, gradients, bounds."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd import grad

import mho
from mho.errors import LifecycleError
from mho.nn import sites
from mho.ops import Stream
from mho.tiles import Operand, mvm, nominal, read_out
from oracles import converters as oracle

from .bench import dense, hardware, inputs
from .test_convolution import SHAPES, convolution, image

HALF = 15
ADC = {"bits": 5, "bound": 2.5, "converter": {"kind": "sar", "unit_spread": 0.2}}
ARRAYS = {"one": {}, "ragged": {"rows": 7, "cols": 5}, "greedy": {"rows": 4, "cols": 3}}
LINEAR = {"array": {"rows": 7, "cols": 5}, "dac": {"range": {"kind": "fixed", "value": 1.0}}}


def chip(hw, geometry, seed=1) -> Operand:
    weight = 0.4 * torch.randn(
        geometry.out, geometry.rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    base = nominal(weight, hw, geometry)
    return replace(base, columns=read_out(hw, geometry, Stream(seed, "test")))


def literal(x, operand, hw, geometry):
    """Vector by vector and column by column: relative sums, gain, offset, bit trials, scale."""
    columns, bound = operand.columns, hw.adc.bound
    out = torch.zeros(len(x), geometry.out, dtype=torch.float64)
    first = 0
    for r, rows in enumerate(geometry.partition.rows):
        v = x[:, first : first + rows].clamp(-1, 1)
        for i in range(operand.weight.shape[0]):
            s, o = divmod(i, geometry.out)
            scale = operand.scale[r, i]
            y = v @ operand.weight[i, first : first + rows] / scale
            z = y / bound * HALF
            if columns.gain is not None:
                z = z * columns.gain[r, i].double()
            if columns.offset is not None:
                z = z + columns.offset[r, i].double() * HALF
            weights = columns.converter[r, i].double().tolist()
            code = torch.tensor([oracle.successive(float(a), weights, HALF) for a in z]).double()
            out[:, o] += operand.significance[s] * code * bound / HALF * scale
        first += rows
    return out


@pytest.mark.parametrize("mapping", ["differential", {"kind": "bit_sliced", "bits": 5}])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_each_column_has_its_own_converter(array, mapping):
    hw = hardware(
        array=array, mapping=mapping, adc={**ADC, "gain_spread": 0.1, "offset_spread": 0.05}
    )
    geometry = dense(11, 17, hw)
    operand = chip(hw, geometry)
    x = inputs(6, 17)
    got = mvm(x, operand, hw, geometry)
    assert (got - literal(x, operand, hw, geometry)).abs().max() < 1e-5


@pytest.mark.parametrize("size", [{}, {"rows": 4, "cols": 3}], ids=["one", "cut"])
@pytest.mark.parametrize("shape", ["plain", "strided", "grouped", "transposed_strided"])
def test_a_convolution_is_the_product_of_its_patches(shape, size):
    """By itself, and where vectors are told apart, on the same converters."""
    hw = hardware(array=size, adc={**ADC, "transfer": {"kind": "polynomial", "cubic_spread": 0.2}})
    geometry = convolution(hw, SHAPES[shape])
    operand = chip(hw, geometry)
    x = image(SHAPES[shape])
    whole = mvm(x, operand, hw, geometry)
    apart = mvm(x, operand, hw, geometry.vectors)
    assert (whole - apart).abs().max() <= 1e-9 * whole.abs().max()
    if shape == "plain":
        straight = hw.with_fields(adc=ADC)
        y = mvm(x, operand, straight, geometry)
        want = literal(geometry.vectors.vectors_of(x)[:, 0], operand, straight, geometry)
        assert (geometry.by_output(y) - want).abs().max() < 1e-5


@pytest.mark.parametrize("per", [1, 2, 3, 100])
def test_neighbors_share_a_converter(per):
    """Curve, gain, offset and thresholds; never across arrays, and only where they are asked to."""
    hw = hardware(
        array={"rows": 7, "cols": 5},
        adc={
            **ADC,
            "gain_spread": 0.1,
            "offset_spread": 0.1,
            "columns_per_converter": per,
            "transfer": {"kind": "polynomial", "cubic_spread": 0.1},
        },
        noise={"output": 0.1, "output_spread": 0.3},
    )
    geometry = dense(11, 17, hw)
    columns = read_out(hw, geometry, Stream(2, "test"))
    owners, first = [], 0
    for size in geometry.partition.columns:
        owners += [first + j // per for j in range(size)]
        first = owners[-1] + 1
    for values in (columns.gain, columns.offset, columns.converter, columns.transfer):
        for r in range(geometry.parts):
            flat = values[r].reshape(11, -1)
            for i in range(11):
                for j in range(11):
                    assert torch.equal(flat[i], flat[j]) == (owners[i] == owners[j])
        assert not torch.equal(values[0], values[1])
    assert len(columns.noise[0].unique()) == 11


def test_drawn_spreads_are_the_same_as_without_sharing():
    """What a chip instance was before converters had architectures, it still is."""
    hw = hardware(adc={"bound": 3.0, "gain_spread": 0.1, "offset_spread": 0.1})
    columns = read_out(hw, dense(4, 6, hw), Stream(7, "fc"))
    stream = Stream(7, "fc")
    assert torch.equal(columns.gain, 1 + 0.1 * stream.normal("adc gain", (1, 4)))
    assert torch.equal(columns.offset, 0.1 * stream.normal("adc offset", (1, 4)))


# ---- gradients -----------------------------------------------------------------------------------


def test_codes_are_true_and_the_gradient_is_that_of_the_smooth_curve():
    """dy/dx = gain f'(u) w inside the bound and 0 outside; f by autograd in float64."""
    hw = hardware(
        adc={
            "bits": 5,
            "bound": 0.5,
            "gain_spread": 0.2,
            "offset_spread": 0.1,
            "transfer": {"kind": "polynomial", "cubic": -0.25, "cubic_spread": 0.02},
            "converter": {"kind": "uniform", "dnl": 0.5, "noise": 0.3},
        }
    )
    geometry = dense(3, 2, hw)
    operand = chip(hw, geometry)
    columns = operand.columns
    x = 0.5 * torch.randn(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = x.clamp(-0.99, 0.99).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = mvm(x, operand, hw, geometry)
    steps = y.detach() / (0.5 / HALF * operand.scale[0])
    assert (steps - steps.round()).abs().max() < 1e-9  # codes, not the smooth curve
    g = torch.randn(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (got,) = grad(y, x, g)
    weight = operand.weight / operand.scale[0][:, None]
    leaf = x.detach().requires_grad_()
    u = hw.adc.transfer.apply(leaf @ weight.T, 0.5, columns.transfer[0].T.double())
    z = (u * columns.gain[0] / 0.5 + columns.offset[0]) * HALF
    # Noise moves a signal across the bound; those within its reach are left out.
    clear = ((z.detach().abs() - HALF).abs() > 2).all(1)
    smooth = z.clamp(-HALF, HALF) * (0.5 / HALF * operand.scale[0])
    (want,) = grad(smooth, leaf, g)
    assert int(clear.sum()) > 100
    assert (z.abs() > HALF + 2).any()
    assert (got - want)[clear].abs().max() < 1e-6


@pytest.mark.parametrize(
    "converter",
    ["uniform", "sar", "ramp", "pipeline", "cyclic", {"kind": "counter", "phase": "free"}],
)
def test_a_network_trains_through_every_architecture(converter):
    """The loss falls, and no gradient is lost."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))
    adc = {"bits": 5, "bound": 4.0, "converter": converter}
    mho.convert(model, mho.Hardware(**LINEAR, adc=adc))
    x = torch.rand(64, 20)
    wanted = x @ torch.randn(20, 4) / 4
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    assert all((p.grad != 0).any() for p in model.parameters())


def test_compiled_and_plain_are_the_same():
    torch.manual_seed(0)
    hw = mho.Hardware(**LINEAR, adc=ADC)
    model = nn.Linear(17, 11)
    mho.convert(model, hw)
    mho.program(model, seed=1)
    x = torch.rand(5, 17)
    codes = model(x)
    again = torch.compile(model, backend="aot_eager", fullgraph=True)(x)
    assert torch.equal(codes, again)


# ---- life ----------------------------------------------------------------------------------------


def test_a_chip_instance_has_its_converters_for_life():
    torch.manual_seed(0)
    hw = mho.Hardware(**LINEAR, adc=ADC, cell="pcm")
    model = nn.Linear(17, 11)
    mho.convert(model, hw)
    x = torch.rand(50, 17)
    fresh = model(x)
    mho.program(model, seed=1)
    (site,) = sites(model)
    own = site.crossbar._present.columns.converter
    mho.at(model, "1 d")
    assert torch.equal(own, site.crossbar._present.columns.converter)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    y = model(x)
    mho.program(model, seed=2)
    assert not torch.equal(own, site.crossbar._present.columns.converter)
    model.load_state_dict(state)
    assert torch.equal(model(x), y)
    mho.erase(model)
    assert torch.equal(model(x), fresh)  # nominal converters again


def test_retries_read_again_what_saturates():
    """A signal of twice the bound, in steps of a converter, by the second read."""
    adc = {"bits": 8, "bound": 1.0, "overflow": "retry", "converter": "sar"}
    hw = hardware(adc=adc)
    geometry = dense(1, 4, hw)
    ones = torch.ones(1, 4, dtype=torch.float64)
    y = mvm(0.45 * ones, Operand(ones, ones[:, :1]), hw, geometry)
    assert abs(float(y) - 1.8) <= 2 * 0.5 / 127 + 1e-9
    assert float(mvm(0.1 * ones, Operand(ones, ones[:, :1]), hw, geometry)) == pytest.approx(
        round(0.4 * 127) / 127
    )


# ---- bounds --------------------------------------------------------------------------------------


def converted(bound, **more):
    torch.manual_seed(0)
    model = nn.Linear(17, 11)
    mho.convert(model, mho.Hardware(**LINEAR, adc={"bits": 6, "bound": bound, **more}))
    return model


def test_the_maximum_is_what_weights_can_make():
    """Inputs of full scale with the signs of the weights reach it, and nothing exceeds it."""
    model = converted("maximum")
    (site,) = sites(model)
    operand = site.crossbar.operand(model.weight.detach())
    first = 0
    for r, rows in enumerate(site.crossbar.geometry.partition.rows):
        w = model.weight.detach()[:, first : first + rows] / operand.scale[r][:, None]
        torch.testing.assert_close(operand.bound[r], w.abs().sum(1))
        first += rows
    signs = torch.sign(model.weight.detach())
    largest = torch.stack([model(signs[i])[i] - model.bias[i] for i in range(11)])
    torch.testing.assert_close(largest, model.weight.abs().sum(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("granules", ["powers_of_two", "multiples"])
def test_granular_bounds_are_the_next_ones(granules):
    x = torch.rand(40, 17)
    exact, granular = converted("calibrated"), converted("granular", granule=0.3, granules=granules)
    for model in (exact, granular):
        mho.calibrate(model, [x])
    (peaks,), (bounds,) = (
        [site.crossbar.output_bound for site in sites(model)] for model in (exact, granular)
    )
    assert (bounds >= peaks * (1 - 1e-6)).all()
    counts = bounds / 0.3
    if granules == "multiples":
        torch.testing.assert_close(counts, counts.round())
        assert (bounds - peaks < 0.3 + 1e-6).all()
    else:
        torch.testing.assert_close(counts.log2(), counts.log2().round(), atol=1e-5, rtol=0)
        assert (bounds < 2 * peaks * (1 + 1e-6)).all()
    assert torch.isfinite(granular(x)).all()


@pytest.mark.parametrize("bound", ["calibrated", "granular"])
def test_a_bound_from_data_needs_data(bound):
    with pytest.raises(LifecycleError, match=f"ADC bound is {bound}, but no data was seen"):
        converted(bound)(torch.rand(3, 17))


def test_a_bound_of_the_weights_needs_none_and_takes_any_input_range():
    torch.manual_seed(0)
    model = nn.Linear(17, 11)
    hw = mho.Hardware(dac={"range": "per_token"}, adc={"bits": 8, "bound": "maximum"})
    mho.convert(model, hw)
    assert torch.isfinite(model(torch.rand(3, 17))).all()
    with pytest.raises(mho.MhoError, match="range that does not follow the input"):
        mho.Hardware(dac={"range": "per_token"}, adc={"bits": 8, "bound": "granular"})
