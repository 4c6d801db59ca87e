"""Converters by themselves: one cell of weight 1 between a DAC and an ADC."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.circuits import ADC, DAC
from mho.mapping import Partition
from mho.ops import to_codes
from mho.tiles import Dense, Hardware, Operand, mvm

FIXED = {"kind": "fixed", "value": 1.0}
WIRE = Dense(1, Partition((1,), (1,), None, None))
resolutions = st.one_of(
    st.integers(2, 16).map(lambda n: ({"bits": n}, 2**n - 2)),
    st.integers(1, 3000).map(lambda n: ({"steps": 2 * n}, 2 * n)),
)


def through(x: torch.Tensor, **parts) -> torch.Tensor:
    """What a signal is after the converters."""
    weight = torch.ones(1, 1, dtype=x.dtype)
    hw = Hardware(**{"dac": {"range": FIXED}, **parts})
    return mvm(x[:, None], Operand(weight, weight), hw, WIRE)[:, 0]


@pytest.mark.parametrize("bits", [2, 3, 8, 10])
def test_levels(bits):
    """2^bits - 1 levels at 2^bits - 2 steps, with one at zero and one at each end: 255 at 254."""
    x = torch.linspace(-1.2, 1.2, 100_001, dtype=torch.float64)
    steps = 2**bits - 2
    expected = torch.arange(-steps // 2, steps // 2 + 1).double() / (steps / 2)
    for parts in (
        {"dac": {"bits": bits, "range": FIXED}},
        {"adc": {"bits": bits, "bound": 1}},
        {"adc": {"steps": steps, "bound": 1}},
    ):
        found = through(x, **parts).unique()
        assert len(found) == 2**bits - 1
        assert (found - expected).abs().max() <= 1e-15


def test_255_levels_at_254_steps():
    assert DAC(bits=8, range=FIXED).half_steps == DAC(steps=254, range=FIXED).half_steps == 127
    assert ADC(bits=8, bound=1).half_steps == ADC(steps=254, bound=1).half_steps == 127
    x = torch.linspace(-1, 1, 10_000)
    assert len(through(x, dac={"bits": 8, "range": FIXED}).unique()) == 255


@given(resolutions, st.lists(st.floats(-2, 2), min_size=1, max_size=30))
def test_laws_of_a_converter(resolution, values):
    """Within half a step inside, at the end outside; odd; monotone; idempotent."""
    fields, steps = resolution
    x = torch.tensor(sorted(values), dtype=torch.float64)
    for parts in ({"dac": {**fields, "range": FIXED}}, {"adc": {**fields, "bound": 1}}):
        y = through(x, **parts)
        assert ((y - x.clamp(-1, 1)).abs() <= 1 / steps + 1e-15).all()
        assert torch.equal(through(-x, **parts), -y)
        assert (y.diff() >= 0).all()
        assert torch.equal(through(y, **parts), y)


def test_no_bits_is_the_identity():
    """Not only nearly: inside the range an ideal converter returns the number itself."""
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert torch.equal(through(x), x)
    assert torch.equal(through(x, adc={"bound": 1}), x)
    everything = 1e6 * x
    assert torch.equal(through(everything, dac={"range": None}), everything)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 0.93, 1.0, -0.3, -1.0])
def test_stochastic_rounding_is_unbiased(value):
    """The mean over n roundings is the value, within 5 standard errors of sqrt(f (1 - f) / n)."""
    n, steps = 200_000, 14
    share = value * steps / 2 % 1
    error = 5 * (share * (1 - share) / n) ** 0.5 / (steps / 2)
    for seed, parts in enumerate(
        (
            {"dac": {"steps": steps, "range": FIXED, "rounding": "stochastic"}},
            {"adc": {"steps": steps, "bound": 1, "rounding": "stochastic"}},
        )
    ):
        torch.manual_seed(seed)
        y = through(torch.full((n,), value, dtype=torch.float64), **parts)
        assert abs(float(y.mean()) - value) <= error + 1e-12
        assert len(y.unique()) == (1 if share in (0, 1) else 2)


@given(st.floats(-1e3, 1e3), st.integers(1, 127), st.booleans())
def test_codes(value, limit, stochastic):
    """Integers within the limit, beside the value; with autograd the input stays as it is."""
    x = torch.full((50,), value, dtype=torch.float64)
    code = to_codes(x.clone(), limit, stochastic=stochastic)
    assert torch.equal(code, code.round())
    assert (code.abs() <= limit).all()
    inside = max(-limit, min(limit, value))
    assert ((code - inside).abs() < (1 if stochastic else 0.5 + 1e-9)).all()
    leaf = x.clone().requires_grad_()
    to_codes(leaf, limit, stochastic=stochastic).sum().backward()
    assert torch.equal(leaf, x)
    assert (leaf.grad == (abs(value) <= limit)).all()


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2.0**-24])
def test_stochastic_codes_at_the_ends_of_chance(monkeypatch, u):
    """Whole numbers never change, though 127 + u and 3 + u may be rounded to 128 and 4."""
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, u))
    x = torch.tensor([127.0, -127.0, 126.75, -126.75, 3.0, 0.0])
    expected = [127, -127, 126 + (u < 0.75), -127 + (u < 0.25), 3, 0]
    assert to_codes(x, 127, stochastic=True).tolist() == expected


def test_half_precision_does_not_overflow():
    """Sums of codes exceed 65504 where the product itself is small."""
    rows = 700
    hw = Hardware(dac={"bits": 8, "range": FIXED}, adc={"bits": 16, "bound": rows})
    wide = Dense(1, Partition((rows,), (1,), None, None))
    for dtype in (torch.float16, torch.bfloat16):
        x, w = torch.ones(1, rows, dtype=dtype), torch.ones(1, rows, dtype=dtype)
        y = mvm(x, Operand(w, torch.ones(1, 1)), hw, wide)
        assert y.dtype == dtype
        assert float(y) == rows
    with torch.autocast("cpu", dtype=torch.float16):
        y = mvm(torch.ones(1, rows), Operand(torch.ones(1, rows), torch.ones(1, 1)), hw, wide)
    assert abs(float(y) - rows) <= rows * torch.finfo(torch.float16).eps


def test_a_vector_of_zeros_has_no_range_and_no_output():
    """Nor has one so small that a code times its range would overflow."""
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = torch.zeros(3, dtype=dtype)
        x[1], x[2] = torch.finfo(dtype).tiny, 1
        y = through(x, dac={"bits": 8, "range": "per_token"}, adc={"bits": 8, "bound": 1})
        assert torch.equal(y, x)
