"""The arithmetic of digital units: bit for bit, within its bounds, and its gradients."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mho.circuits import Constants, FixedFormat, FixedPoint, Float, Half
from mho.errors import SpecError
from oracles.digital_unit import fixed_point


@dataclass
class Columns:
    """Products (n, arrays) of a single output."""

    arrays: int
    largest: float

    def on_columns(self, values: Tensor) -> Tensor:
        return values[:, 0]

    def on_outputs(self, values: Tensor) -> Tensor:
        return values

    def total(self, y: Tensor) -> Tensor:
        return y.sum(-1)


def codes_of(unit, x, scale, offset, step=1.0, dtype=torch.float32):
    """Output codes for ADC codes x (n, arrays), scales (arrays,) and an offset in output steps."""
    sums = Columns(x.shape[1], float(x.abs().max()))
    scale, offset = torch.tensor(scale, dtype=dtype)[:, None], torch.tensor([offset], dtype=dtype)
    step = torch.tensor(step, dtype=dtype)
    constants = Constants(scale * step, offset * step, step)
    return unit.affine(x.to(dtype), constants, sums) / step


@st.composite
def settings_of_a_unit(draw):
    """A unit, ADC codes, and integer parameters within its formats."""
    adc, arrays = draw(st.integers(2, 16)), draw(st.integers(1, 5))
    scale = FixedFormat(integer=draw(st.integers(0, 8)), fraction=draw(st.integers(1, 8)))
    offset = FixedFormat(integer=draw(st.integers(1, 8)), fraction=draw(st.integers(0, 8)))
    point = max(scale.fraction, offset.fraction)
    before = draw(st.integers(0, point))
    unit = FixedPoint(
        scale=scale, offset=offset, cut_before=before,
        cut_after=draw(st.integers(0, point - before)),
        rounding=draw(st.sampled_from(["nearest", "nearest_even", "truncate"])),
        relu=draw(st.booleans()), output_bits=draw(st.integers(2, 16)),
        output_signed=draw(st.booleans()),
    )  # fmt: skip
    half = 2 ** (adc - 1) - 1
    vectors = st.lists(st.integers(-half, half), min_size=arrays, max_size=arrays)
    codes = draw(st.lists(vectors, min_size=1, max_size=20))
    factors = st.integers(*scale.limits(signed=False))
    factors = draw(st.lists(factors, min_size=arrays, max_size=arrays))
    low, high = offset.limits(signed=True)
    return unit, codes, factors, draw(st.integers(arrays * low, arrays * high))


@settings(max_examples=300)
@given(settings_of_a_unit())
def test_bit_exact_against_integers_of_any_width(drawn):
    unit, codes, factors, addend = drawn
    scale = [factor / 2**unit.scale.fraction for factor in factors]
    ours = codes_of(unit, torch.tensor(codes), scale, addend / 2**unit.offset.fraction)
    wanted = [
        fixed_point(
            vector, factors, addend,
            scale_fraction=unit.scale.fraction, offset_fraction=unit.offset.fraction,
            cut_before=unit.cut_before, cut_after=unit.cut_after, rounding=unit.rounding,
            relu=unit.relu, bits=unit.output_bits, signed=unit.output_signed,
        )
        for vector in codes
    ]  # fmt: skip
    assert ours.tolist() == wanted


def test_an_accumulator_beyond_single_precision_is_exact():
    """32767 x 65535 is about 2^31; of its sum over two arrays the last bit decides."""
    unit = FixedPoint(
        scale=FixedFormat(integer=0, fraction=16),
        offset=FixedFormat(integer=1, fraction=15),
        rounding="truncate",
        output_bits=16,
    )
    for factors in ([65535, 1], [65535, 3]):
        codes = [32767, -32767]
        scale = [f / 2**16 for f in factors]
        wanted = fixed_point(
            codes, factors, 1, scale_fraction=16, offset_fraction=15, rounding="truncate", bits=16
        )
        assert codes_of(unit, torch.tensor([codes]), scale, 2.0**-15).tolist() == [wanted]


@settings(max_examples=200)
@given(
    st.integers(-127, 127),
    st.floats(0, 255 / 128, width=32),
    st.floats(-64, 63.5, width=32),
    st.booleans(),
)
def test_published_formats_keep_the_bound(x, s, o, relu):
    """|y - clip(s x + o)| <= |x| / 256 + 1/4 + 1/2 for s in [0, 255/128], o in [-64, 63.5].

    S = round(128 s) gives |S / 128 - s| <= 1/2 / 128 = 1/256, so the product is off by at most
    |x| / 256. O = round(2 o) gives |O / 2 - o| <= 1/2 / 2 = 1/4. Both lie within their formats, so
    nothing is clamped. The accumulator a / 128 = x S / 128 + O / 2 is exact, and rounding it to a
    whole number moves it by at most 1/2. Saturation and ReLU are clip, which is monotone and has
    slope at most 1, so |clip(u) - clip(v)| <= |u - v|; and the limits are whole numbers, so that
    clip(round(u)) = round(clip(u)).
    """
    low, high = (0 if relu else -128), 127
    y = codes_of(FixedPoint(relu=relu), torch.tensor([[x]]), [s], o).item()
    assert abs(y - min(max(s * x + o, low), high)) <= abs(x) / 256 + 1 / 4 + 1 / 2


def test_the_bound_is_reached():
    """Much less would not do: s and o halfway between codes, all three errors of one sign."""
    s, o, x = 100 / 128 + 0.499 / 128, 10.249, 127
    y = codes_of(FixedPoint(), torch.tensor([[x]]), [s], o).item()
    assert s * x + o - y > 0.7 * (x / 256 + 0.75)


@pytest.mark.parametrize("arrays", [1, 2, 7])
def test_units_share_an_offset_evenly(arrays):
    """K units hold K times the offset of one, to the last code."""
    unit, scale = FixedPoint(), torch.ones(arrays, 1)
    offsets = torch.arange(-400 * arrays, 400 * arrays) / 2  # whole codes
    _, fit = unit.fits(Constants(scale, offsets, torch.tensor(1.0)), arrays)
    shares = [[(int(2 * o) + k) // arrays for k in range(arrays)] for o in offsets]
    assert [sum(share) for share in shares] == (2 * offsets).tolist()
    assert fit.tolist() == [all(-128 <= each <= 127 for each in share) for share in shares]


def test_a_scale_fits_up_to_half_a_code():
    values = torch.tensor([-0.5, -0.3, 0.0, 255.4, 255.6]) / 128
    step, none = torch.tensor(1.0), torch.zeros(1)
    fit, _ = FixedPoint().fits(Constants(values[:, None], none, step), 1)
    assert fit[:, 0].tolist() == [True, True, True, True, False]
    assert not FixedPoint().fits(Constants(torch.tensor([[-0.01]]), none, step), 1)[0]


@pytest.mark.parametrize("rounding", ["nearest", "nearest_even", "truncate"])
def test_the_gradient_is_straight_through_inside_and_zero_outside(rounding):
    unit = FixedPoint(rounding=rounding, relu=True)
    x = torch.tensor([[-10.0], [20.0], [60.0], [120.0]], requires_grad=True)
    offset = torch.tensor([3.0], requires_grad=True)
    sums, step = Columns(1, 127.0), torch.tensor(0.5)
    y = unit.affine(x, Constants(torch.tensor([[0.75]]), offset, step), sums)
    assert y.tolist() == [0.0, 18.0, 48.0, 63.5]  # 0.75 x + 3 in steps of 0.5, up to 127 of them
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.0, 0.75, 0.75, 0.0]
    assert offset.grad is not None
    assert offset.grad.tolist() == [2.0]


def test_cuts_that_leave_no_bits_are_refused():
    with pytest.raises(SpecError, match=r"cut_before \+ cut_after = 9 .* 7 after the point"):
        FixedPoint(cut_before=5, cut_after=4)
    with pytest.raises(SpecError, match="1 to 16 bits"):
        FixedFormat(integer=9, fraction=8)


def test_half_precision_is_one_rounding_of_a_multiply_add():
    """Against NumPy's binary16, for one array; a sum over arrays is rounded once more."""
    generator = np.random.default_rng(0)
    x = generator.integers(-127, 128, (2000, 3)).astype(np.float32)
    s = generator.lognormal(-3, 1, 3).astype(np.float32)
    o = np.float32(0.3)
    s16, o16 = (np.asarray(v, np.float16).astype(np.float32) for v in (s, o))
    parts = (x * s16 + np.array([o16, 0, 0])).astype(np.float16).astype(np.float32)
    for arrays in (1, 3):
        sums = Columns(arrays, 127.0)
        constants = Constants(torch.tensor(s[:arrays, None]), torch.tensor([o]), None)
        ours = Half().affine(torch.tensor(x[:, :arrays]), constants, sums)
        wanted = parts[:, :arrays].sum(1).astype(np.float16)
        assert np.array_equal(ours.numpy(), wanted.astype(np.float32))


def test_half_precision_is_within_its_unit_roundoff():
    """Three roundings by at most u = 2^-11: |y - (s x + o)| <= 2u (|s x| + |o|) + u^2 terms."""
    x = torch.arange(-127.0, 128)[:, None]
    s, o, u = torch.tensor([[0.0123]]), torch.tensor([-0.77]), 2.0**-11
    sums = Columns(1, 127.0)
    y = Half().affine(x.clone(), Constants(s, o, None), sums)
    exact = Float().affine(x.double(), Constants(s.double(), o.double(), None), sums)
    limit = (2 * u + u**2) * ((x * s).abs()[:, 0] + o.abs())
    assert ((y - exact).abs() <= limit).all()
    assert (y != exact).any()


def test_half_precision_overflows_to_infinity_and_says_so():
    beyond: list[Tensor] = []
    x, s = torch.tensor([[127.0], [-127.0], [1.0]]), torch.tensor([[1000.0]])
    y = Half().affine(x, Constants(s, torch.zeros(1), None), Columns(1, 127.0), beyond)
    assert y.tolist() == [torch.inf, -torch.inf, 1000.0]
    assert [where.tolist() for where in beyond] == [[True, False, False], [False, True, False]]
    scales = torch.tensor([[1.0], [1e6], [1e-9], [0.0]])
    fit, _ = Half().fits(Constants(scales, torch.zeros(1), None), 1)
    assert fit[:, 0].tolist() == [True, False, False, True]
