"""Every encoding: what is decoded is the weight, and every conductance is one a cell can have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.cells import Ideal
from mho.errors import SpecError
from mho.mapping import (
    Binary,
    BitSliced,
    Differential,
    Mapping,
    Offset,
    Pairs,
    Signed,
    Single,
    Table,
    Ternary,
)
from mho.ops import Stream

finite = {"allow_nan": False, "allow_infinity": False}
weights = st.lists(st.floats(-1, 1, **finite), min_size=1, max_size=8).map(
    lambda values: torch.tensor([values], dtype=torch.float64)
)
factors = st.lists(st.floats(0.1, 10, **finite), min_size=1, max_size=4).map(tuple)


@st.composite
def tables(draw) -> Table:
    """Pairs with a common part: its share of the range cancels, whatever it is at each weight."""
    inner = draw(st.lists(st.floats(-0.99, 0.99, **finite), max_size=4, unique=True))
    points = (-1.0, *sorted({*inner, 0.0}), 1.0)  # the pair's polarity has a kink at 0
    slope = draw(st.floats(0.1, 1, **finite))
    common = [draw(st.floats(0, 1, **finite)) * (1 - slope) for _ in points]
    devices = tuple(
        tuple(min(slope * max(sign * w, 0.0) + c, 1.0) for w, c in zip(points, common, strict=True))
        for sign in (1, -1)
    )
    return Table(points=points, devices=devices)


exact = st.one_of(
    st.just(Differential()),
    st.just(Single()),
    st.just(Single(reference="cell")),
    st.just(Signed()),
    st.builds(Pairs, factors=factors),
    tables(),
)
sliced = st.builds(BitSliced, bits=st.integers(9, 16), slice_bits=st.integers(1, 8))
ranges = st.tuples(st.floats(0, 20e-6, **finite), st.floats(21e-6, 90e-6, **finite))


def decoded(mapping: Mapping, w: torch.Tensor, g_min: float, g_max: float) -> torch.Tensor:
    """The weight that the array and its digital factors compute with."""
    slices = mapping.decode(mapping.encode(w, g_min, g_max), g_min, g_max)
    assert slices.shape == (len(mapping.significance), *w.shape)
    significance = torch.tensor(mapping.significance, dtype=w.dtype)
    return torch.einsum("s,soi->oi", significance, slices)


@given(exact, weights, ranges)
def test_what_is_decoded_is_the_weight(mapping, w, limits):
    """Up to the rounding of a handful of operations on numbers of size g_max / (g_max - g_min)."""
    assert mapping.exact
    size = limits[1] / (limits[1] - limits[0])
    condition = size / getattr(mapping, "_slope", lambda: 1.0)()
    error = (decoded(mapping, w, *limits) - w).abs().max()
    assert error <= 32 * torch.finfo(w.dtype).eps * condition


@given(st.one_of(exact, sliced), weights, ranges)
def test_conductances_are_those_of_a_cell(mapping, w, limits):
    """Between g_min and g_max, up to rounding; a cell takes all of them as targets."""
    g_min, g_max = limits
    signed = mapping.kind == "signed"
    if signed:
        g_min = 0.0
    g = mapping.encode(w, g_min, g_max)
    assert g.shape == (mapping.planes, *w.shape)
    slack = 4 * torch.finfo(w.dtype).eps * g_max
    assert (g <= g_max + slack).all()
    assert (g >= (-g_max if signed else g_min) - slack).all()
    cell = Ideal(g_min=g_min, g_max=g_max, signed=signed)
    programmed = cell.program(g, Stream(0, "encoding")).programmed
    assert ((programmed - g).abs() <= torch.finfo(torch.float32).eps * g_max).all()


@given(st.one_of(exact, sliced), ranges)
def test_ends_and_zero(mapping, limits):
    """1, -1 and 0 are encoded whatever the resolution, and a mapping is odd."""
    w = torch.tensor([[1.0, -1.0, 0.0]], dtype=torch.float64)
    condition = limits[1] / (limits[1] - limits[0]) / getattr(mapping, "_slope", lambda: 1.0)()
    error = (decoded(mapping, w, *limits) - w).abs().max()
    assert error <= 32 * torch.finfo(w.dtype).eps * condition


@given(weights)
def test_differential_uses_one_side(w):
    up, down = Differential().encode(w, 2e-6, 25e-6)
    assert (torch.minimum(up, down) == 2e-6).all()
    assert ((up > 2e-6) <= (w > 0)).all()


def test_single_with_a_real_reference_cell():
    """The reference is a device of every weight at the middle of the range."""
    g = Single(reference="cell").encode(torch.tensor([[-1.0, 0.0, 0.5]]), 9e-6, 88e-6)
    torch.testing.assert_close(g[1], torch.full((1, 3), 48.5e-6))
    torch.testing.assert_close(g[0], torch.tensor([[9e-6, 48.5e-6, 68.25e-6]]))


def test_signed_is_the_weight_itself():
    torch.testing.assert_close(
        Signed().encode(torch.tensor([[-1.0, 0.5]]), 0.0, 25e-6),
        torch.tensor([[[-25e-6, 12.5e-6]]]),
    )


@given(factors, weights)
def test_pairs_fill_in_order(factors, w):
    """A pair carries something only where those before it are full, and on one side only."""
    mapping = Pairs(factors=factors)
    share = mapping.encode(w, 0.0, 1.0)
    up, down = share[0::2], share[1::2]
    assert (torch.minimum(up, down) == 0).all()
    either = torch.maximum(up, down)
    for k in range(1, len(factors)):
        assert (either[k - 1][either[k] > 0] == 1).all()
    assert (up.sum(0)[w <= 0] == 0).all()
    assert (down.sum(0)[w >= 0] == 0).all()


def test_pairs_by_hand():
    """Factors 3 and 1: the first pair holds 3/4 of the weight, the second the rest."""
    g = Pairs(factors=(3.0, 1.0)).encode(torch.tensor([[0.5, 0.75, -1.0]]), 0.0, 1.0)
    expected = [[2 / 3, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(g[:, 0], torch.tensor(expected))


@pytest.mark.parametrize("factors", [(), (1.0, 0.0), (1.0, -2.0), (float("nan"),), (float("inf"),)])
def test_pairs_refuses(factors):
    with pytest.raises(SpecError, match="factors"):
        Pairs(factors=factors)


@pytest.mark.parametrize("scaling", ["column", "tile"])
def test_a_fixed_scale_goes_with_its_value(scaling):
    with pytest.raises(SpecError, match="w_max"):
        Differential(scaling=scaling, w_max=1.0)
    with pytest.raises(SpecError, match="w_max"):
        Differential(scaling="fixed")
    assert Differential(scaling="fixed", w_max=0.5).w_max == 0.5


# ---- few levels ----------------------------------------------------------------------------------

few = st.one_of(
    st.just(Binary()),
    st.builds(Ternary, threshold=st.floats(0.05, 0.95), zero=st.sampled_from(["g_min", "g_max"])),
)


@given(few, weights, ranges)
def test_signs_and_zeros(mapping, w, limits):
    """Devices at the ends of their range only, and the sign of a weight that is not a zero."""
    assert not mapping.exact
    g = mapping.encode(w, *limits)
    ends = torch.minimum((g - limits[0]).abs(), (g - limits[1]).abs())
    assert float(ends.max()) < 1e-12 * limits[1] / (1 - limits[0] / limits[1])
    level = torch.where(w < 0, -1.0, 1.0).double()
    if isinstance(mapping, Ternary):
        level = w.sign() * (w.abs() >= mapping.threshold)
    assert torch.allclose(decoded(mapping, w, *limits), level, atol=1e-9)


@given(st.integers(2, 12), st.sampled_from(["ideal", "cell"]), weights)
def test_offset_codes(bits, reference, w):
    """Whole codes above 0 below 2^bits, and the nearest of 2^bits - 1 levels."""
    mapping, levels = Offset(bits=bits, reference=reference), 2 ** (bits - 1) - 1
    codes = mapping.encode(w, 0.0, 3e-5)[0] * (2**bits / 3e-5)
    assert torch.allclose(codes, codes.round(), atol=1e-9 * 2**bits)
    assert 0.5 < float(codes.min()) <= float(codes.max()) < 2**bits - 0.5
    assert torch.allclose(decoded(mapping, w, 0.0, 3e-5), (w * levels).round() / levels, atol=1e-9)


@pytest.mark.parametrize("mapping", [Binary(), Ternary(), Ternary(zero="g_max"), Offset()])
def test_levels_have_the_gradient_of_the_weight(mapping):
    w = torch.tensor([[-0.9, -0.3, 0.0, 0.2, 0.7]], dtype=torch.float64, requires_grad=True)
    mapping.decode(mapping.encode(w, 0.0, 1e-5), 0.0, 1e-5).sum().backward()
    assert w.grad is not None
    assert torch.allclose(w.grad, torch.ones_like(w))
