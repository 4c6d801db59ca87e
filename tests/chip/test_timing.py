"""Time and energy of a product follow the scheme and the converters of the hardware."""

import pytest

import mho
from mho.chip._product import Product
from mho.chip._survey import conversion_energy

from .chips import chip, constant, fields


def energies(on: mho.Chip) -> dict[str, float]:
    """Energy of a product of all 16 rows and 8 columns."""
    return Product(on.figures(), 16, 8).energy


@pytest.mark.parametrize(("where", "conversions"), [("analog", 1), ("digital", 2)])
def test_both_polarities_are_two_reads(where, conversions):
    """The arrays compute with two reads, and with one or two conversions: so many cost."""
    one, scheme = chip(), {"kind": "positive_negative", "sum": where}
    two = chip(hardware__dac__scheme=scheme)
    assert two.product_time() == pytest.approx(2 * one.product_time())
    assert energies(two)["drivers"] == pytest.approx(2 * 16 * 2e-12)
    assert energies(two)["cells"] == pytest.approx(2 * 16 * 8 * 0.1e-12)
    assert energies(two)["converters"] == pytest.approx(conversions * 8 * 3e-12)
    # Scale and offset of a column, and an addition for each code beyond the first.
    assert two.peak().energy["local digital"] == pytest.approx(8 * (1 + conversions * 0.5) * 1e-12)


def test_a_settling_time_without_conversions_is_converted_in_turn():
    timing = {"kind": "amplitude", "settle": constant(10, "ns"), "conversion": constant(2, "ns")}
    on = chip(core__timing=timing, core__converters__count=3)
    assert on.product_time() == pytest.approx(10e-9 + 3 * 2e-9)
    scheme = {"kind": "positive_negative", "sum": "digital"}
    on = chip(core__timing=timing, core__converters__count=3, hardware__dac__scheme=scheme)
    assert on.product_time() == pytest.approx(2 * (10e-9 + 3 * 2e-9))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hardware.dac.scheme": "pulse_width"}, "takes as long as its pulses"),
        ({"hardware.dac.scheme": "bit_serial"}, "the same slices make the time and the result"),
        ({"core.timing.settle.value": 0}, "a product takes no time"),
        ({"digital.clock.value": 0}, "a rate of 0 GHz never ends"),
        ({"links.bandwidth.value": 0}, "a rate of 0 Gbit/s never ends"),
    ],
)
def test_a_time_that_is_none_is_refused(changes, said):
    with pytest.raises(mho.MhoError, match=said):
        mho.override(chip(), changes)


def test_pulses_of_one_phase_cannot_be_of_two_polarities():
    one = mho.load("hermes-64-core")
    with pytest.raises(mho.MhoError, match=r"once for each polarity: .*phases"):
        mho.override(one, {"hardware.dac.scheme": "positive_negative"})
    scheme = {"hardware.dac.scheme": "positive_negative", "core.timing.phases": 2}
    assert mho.override(one, scheme).product_time() == pytest.approx(2 * 129.4e-9 + 3.5e-9)


def test_columns_that_share_a_converter_take_turns():
    """Who shares a converter shares its curve and its time: one field says both."""
    on = chip(hardware__adc__columns_per_converter=4)
    assert on.converters == 2
    assert on.product_time() == pytest.approx(4 * 100e-9)
    figures = on.figures()
    assert Product(figures, 16, 3).time == pytest.approx(3 * 100e-9)
    assert energies(on)["converters"] == pytest.approx(8 * 3e-12)
    assert chip(core__converters__count=3).in_turn(8) == 3
    with pytest.raises(mho.MhoError, match="say different things of 8 columns"):
        chip(hardware__adc__columns_per_converter=4, core__converters__count=4)


def test_rows_are_pulsed_anew_for_columns_in_turn():
    timing = {"kind": "pulse_width", "clock": constant(1, "GHz"), "phases": 2}
    on = chip(core__timing=timing, core__converters__count=2)
    assert on.product_time() == pytest.approx(2 * 4 * 127e-9)
    assert energies(on)["drivers"] == pytest.approx(16 * 2 * 4 * 2e-12)
    assert energies(on)["cells"] == pytest.approx(16 * 8 * 2 * 0.1e-12)
    assert energies(on)["converters"] == pytest.approx(8 * 2 * 3e-12)


def serial() -> mho.Chip:
    data = fields()
    data["hardware"]["dac"]["scheme"] = {"kind": "bit_serial"}
    timing = {"kind": "bit_serial", "pulse": constant(1, "ns"), "conversion": constant(0.5, "ns")}
    data["core"] |= {"timing": timing, "converters": {"survey": constant(1, "1"), "count": 1}}
    return mho.Chip(**data)


def test_the_survey_is_asked_at_the_rate_of_a_converter():
    """7 slices of 8 columns in turn: 56 conversions in 7 x 5 ns, not one."""
    on = serial()
    product = Product(on.figures(), 16, 8)
    assert product.time == pytest.approx(7 * (1e-9 + 8 * 0.5e-9))
    assert product.rate == pytest.approx(56 / 35e-9)
    fast, slow = (conversion_energy(8, 14e-9, rate) for rate in (1.6e9, 1 / 35e-9))
    assert product.conversion == pytest.approx(fast)
    assert fast > 1.1 * slow


def test_codes_of_slices_are_added_digitally():
    assert serial().peak().energy["local digital"] == pytest.approx(8 * (1 + 7 * 0.5) * 1e-12)


def test_a_converter_below_the_survey_needs_its_area_too():
    import torch

    three = {"hardware.adc.bits": 3, "core.converters.bits": 3}
    low = mho.override(chip(), three)
    with pytest.raises(mho.MhoError, match=r"give core\.converters\.area or core\.area"):
        mho.cost(torch.nn.Linear(16, 8), low, torch.zeros(1, 16))
    known = mho.override(low, {"core.converters.area": constant(900, "um^2")})
    found = mho.cost(torch.nn.Linear(16, 8), known, torch.zeros(1, 16), inputs=1)
    assert found.area["converters"] == pytest.approx(16 * 8 * 900e-12)


def test_the_threshold_voltage_is_one_of_the_constants_that_count():
    """d ln t / d ln V_t = alpha V_t (1 / (V - V_t) - 1 / (V_0 - V_t)) of the alpha-power law."""
    import torch

    low = mho.override(mho.load("c2c-macro"), {"supply.voltage": 0.7})
    found = mho.cost(torch.nn.Linear(16, 8), low, torch.zeros(4, 16), inputs=1)
    by = {e.constant: e for e in found.elasticities}
    law = 1.3 * 0.33 * (1 / 0.37 - 1 / 0.67)
    slowed = sum(e.latency for path, e in by.items() if path.endswith(("settle", "latency")))
    slowed -= sum(e.latency for path, e in by.items() if path.endswith("clock"))
    assert by["supply.threshold"].latency == pytest.approx(slowed * law, rel=0.01)
    assert by["supply.threshold"].latency > 0.1
