"""Input schemes: the phases add up to the input, whatever they are, and each is full scale."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.circuits import BitSerial, OnePass, PositiveNegative

codes = st.lists(st.integers(-(2**15) + 1, 2**15 - 1), min_size=1, max_size=12)


def ideal(drive: torch.Tensor) -> torch.Tensor:
    return drive


def total(phases) -> torch.Tensor:
    return sum(phase.factor * phase.drive for phase in phases)


@given(codes, st.sampled_from([OnePass(), PositiveNegative(), PositiveNegative(sum="digital")]))
def test_analog_phases_add_up_exactly(values, scheme):
    v = torch.tensor(values, dtype=torch.float64)
    assert torch.equal(total(scheme.phases(v, 2.0**15 - 1, ideal)), v)


@given(codes, st.integers(1, 8))
def test_bit_serial_is_shift_and_add(values, slice_bits):
    """Digits of base B, least significant first, driven at digit / (B - 1) of full scale."""
    full, base = 2**15 - 1, 2**slice_bits
    v = torch.tensor(values, dtype=torch.float64)
    phases = BitSerial(slice_bits=slice_bits).phases(v, float(full), ideal)
    assert len(phases) == -(-15 // slice_bits)
    for k, phase in enumerate(phases):
        digits = phase.drive / full * (base - 1)
        expected = [abs(c) // base**k % base * (1 if c > 0 else -1) for c in values]
        torch.testing.assert_close(digits, torch.tensor(expected).double(), rtol=1e-14, atol=1e-14)
        assert phase.factor == pytest.approx(base**k * (base - 1) / full, rel=1e-14)
        assert (phase.drive.abs() <= full * (1 + 1e-15)).all()
    torch.testing.assert_close(total(phases), v, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("half_steps", "slice_bits", "count"),
    [(127, 1, 7), (127, 2, 4), (127, 7, 1), (127, 8, 1), (100, 1, 7), (1, 1, 1), (128, 1, 8)],
)
def test_number_of_phases(half_steps, slice_bits, count):
    v = torch.tensor([float(half_steps)])
    phases = BitSerial(slice_bits=slice_bits).phases(v, float(half_steps), ideal)
    assert len(phases) == count
    assert float(total(phases)) == pytest.approx(half_steps, rel=1e-6)


def test_polarities_never_overlap():
    v = torch.linspace(-1, 1, 11)
    positive, negative = PositiveNegative().phases(v, 1.0, ideal)
    assert ((positive.drive == 0) | (negative.drive == 0)).all()
    assert (positive.drive >= 0).all()
    assert (negative.drive >= 0).all()
    assert (positive.negative, negative.negative) == (False, True)


def test_which_schemes_add_digitally():
    assert not OnePass().digital_sum
    assert not PositiveNegative().digital_sum
    assert PositiveNegative(sum="digital").digital_sum
    assert BitSerial().digital_sum


@pytest.mark.parametrize(
    "scheme", [OnePass(), PositiveNegative(), BitSerial(), BitSerial(slice_bits=3)]
)
def test_the_gradient_is_that_of_the_input(scheme):
    """Once, at every code: also at 0, which belongs to both polarities."""
    v = torch.arange(-7.0, 8.0).requires_grad_()
    (slope,) = torch.autograd.grad(total(scheme.phases(v, 7.0, ideal)).sum(), v)
    torch.testing.assert_close(slope, torch.ones(15))


@pytest.mark.parametrize("scheme", [OnePass(), PositiveNegative(), BitSerial()])
def test_drivers_act_on_what_they_drive(scheme):
    """A driver that is twice too strong doubles the result, and is asked once per drive."""
    asked = []

    def strong(drive):
        asked.append(drive)
        return 2 * drive

    v = torch.arange(-7.0, 8.0)
    phases = scheme.phases(v, 7.0, strong)
    torch.testing.assert_close(total(phases), 2 * v)
    assert len(asked) == (3 if isinstance(scheme, BitSerial) else 1)
