"""Bit slices against integer arithmetic."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.errors import SpecError
from mho.mapping import BitSliced

formats = st.integers(2, 16).flatmap(
    lambda bits: st.tuples(st.just(bits), st.integers(1, min(8, bits - 1)))
)


@given(formats, st.data())
def test_digits(form, data):
    """Level k of L is k = sum_s B^s d_s with 0 <= d_s < B, on the side of the sign."""
    bits, slice_bits = form
    levels, base = 2 ** (bits - 1) - 1, 2**slice_bits
    level = data.draw(st.integers(-levels, levels))
    mapping = BitSliced(bits=bits, slice_bits=slice_bits)
    w = torch.tensor([[level / levels]], dtype=torch.float64)
    pairs = mapping.encode(w, 0.0, 1.0).reshape(-1, 2)
    digits, rest = [], abs(level)
    while len(digits) < len(pairs):
        rest, digit = divmod(rest, base)
        digits.append(digit)
    assert rest == 0
    assert len(digits) == mapping.planes // 2 == -(-(bits - 1) // slice_bits)
    expected = [[d / (base - 1), 0.0] if level >= 0 else [0.0, d / (base - 1)] for d in digits]
    assert pairs.tolist() == expected
    total = sum(
        s * (up - down) for s, (up, down) in zip(mapping.significance, pairs.tolist(), strict=True)
    )
    assert abs(total - level / levels) <= 4 * 2.0**-53 * len(digits)


@given(formats, st.floats(-1, 1))
def test_resolution(form, value):
    """A weight is rounded to the nearest of 2 L + 1 levels."""
    mapping = BitSliced(bits=form[0], slice_bits=form[1])
    levels = 2 ** (form[0] - 1) - 1
    w = torch.tensor([[value]], dtype=torch.float64)
    slices = mapping.decode(mapping.encode(w, 1e-6, 25e-6), 1e-6, 25e-6)
    decoded = float(torch.tensor(mapping.significance, dtype=torch.float64) @ slices.flatten())
    assert abs(decoded - value) <= 0.5 / levels + 1e-14
    assert not mapping.exact
    assert abs(decoded * levels - round(decoded * levels)) <= 1e-9


def test_significance_by_hand():
    """8 bits in slices of 3: 127 = 7 + 8 * 7 + 64 * 1, so the factors are 7/127 times 1, 8, 64."""
    mapping = BitSliced(bits=8, slice_bits=3)
    assert mapping.significance == pytest.approx([7 / 127, 56 / 127, 448 / 127], rel=1e-15)
    full = mapping.encode(torch.ones(1, 1, dtype=torch.float64), 0.0, 1.0)[0::2].flatten()
    assert full.tolist() == [1.0, 1.0, 1 / 7]


def test_slices_wider_than_the_weight():
    with pytest.raises(SpecError, match=r"slice_bits 4 is more than the 3 bits of magnitude"):
        BitSliced(bits=4, slice_bits=4)
