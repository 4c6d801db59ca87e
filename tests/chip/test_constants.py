"""Constants: their sources, units, ranges and scaling."""

import pytest

import mho
from mho.chip._constant import Constant, Energy, Frequency, Power, Surface
from mho.chip._figures import constants

from .chips import chip, constant, fields


def test_a_constant_without_a_source_is_refused():
    data = fields()
    del data["core"]["cell"]["source"]
    with pytest.raises(mho.MhoError, match=r"core\.cell: a constant needs its `source`"):
        mho.Chip(**data)
    data["core"]["cell"] = {**constant(1, "pJ"), "source": "  "}
    with pytest.raises(mho.MhoError, match="needs its `source`"):
        mho.Chip(**data)


def test_a_bare_number_is_no_constant():
    data = fields()
    data["links"]["latency"] = 1e-9
    with pytest.raises(mho.MhoError, match=r"links\.latency: a constant is .* not the bare number"):
        mho.Chip(**data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "ns"}, "cannot convert|is not in J|dimension"),
        ({"value": 0.5, "unit": "J"}, "not plausible"),
        ({"factor": 0.5}, "greater than or equal to 1"),
        ({"factor": None}, "give `factor`, or"),
        ({"optimistic": 1.0, "pessimistic": 3.0}, "give `factor`, or"),
        ({"factor": None, "optimistic": 3.0, "pessimistic": 1.0}, "must lie between"),
        ({"scaling": "linear"}, "needs the `node`"),
        ({"value": -1.0}, "greater than or equal to 0"),
        ({"supply": "cubic"}, "'none', 'square' or 'delay'"),
        ({"sources": "x"}, "unknown field"),
    ],
)
def test_what_is_wrong_with_a_constant_is_said(change, said):
    with pytest.raises(mho.MhoError, match=said):
        Energy(**{**constant(2, "pJ"), **change})


def test_a_factor_moves_each_kind_to_its_better_side():
    energy, clock = Energy(**constant(2, "pJ")), Frequency(**constant(1, "GHz"))
    assert energy.number("optimistic") == pytest.approx(1e-12)
    assert energy.number("pessimistic") == pytest.approx(4e-12)
    assert clock.number("optimistic") == pytest.approx(2e9)
    assert clock.number("pessimistic") == pytest.approx(0.5e9)


@pytest.mark.parametrize(("scaling", "power"), [("none", 0), ("linear", 1), ("quadratic", 2)])
def test_nodes_scale_by_their_rule(scaling, power):
    found = Surface(**constant(1, "um^2", node="28 nm", scaling=scaling))
    assert found.at(14e-9) == pytest.approx(1e-12 * 0.5**power)


def test_supply_laws_are_the_square_and_the_alpha_power_delay():
    data = fields()
    data["supply"] = {
        "voltage": "0.8 V", "reference": "1 V",
        "threshold": {**constant(0.3, "V"), "factor": 1.0},
        "exponent": {**constant(1.5, "1"), "factor": 1.0},
    }  # fmt: skip
    data["core"]["cell"]["supply"] = "square"
    data["core"]["timing"]["settle"]["supply"] = "delay"
    data["digital"]["clock"]["supply"] = "delay"
    number = mho.Chip(**data).figures()
    slower = (0.8 / 0.5**1.5) / (1.0 / 0.7**1.5)
    assert number("core.cell") == pytest.approx(0.1e-12 * 0.64)
    assert number("core.timing.settle") == pytest.approx(100e-9 * slower)
    assert number("digital.clock") == pytest.approx(1e9 / slower)
    assert number("core.other") == pytest.approx(5e-12)


@pytest.mark.parametrize("voltage", [0.3, 0.333])
def test_a_supply_at_or_below_the_threshold_is_refused(voltage):
    chip = mho.load("c2c-macro")
    with pytest.raises(mho.MhoError, match=rf"{voltage} V is not well above the .* of 0\.33 V"):
        mho.override(chip, {"supply.voltage": voltage})


@pytest.mark.parametrize("name", mho.chips())
def test_every_preset_cites_every_constant(name):
    found = dict(constants(mho.load(name)))
    assert len(found) > 15
    for path, one in found.items():
        assert len(one.source) > 15, path
        ends = [one.number(s) for s in ("optimistic", "nominal", "pessimistic")]
        assert ends == sorted(ends, reverse=one.more_is_better), path


@pytest.mark.parametrize("name", mho.chips())
def test_presets_are_written_and_read_back(name, tmp_path):
    chip = mho.load(name)
    file = tmp_path / "again.yaml"
    file.write_text(mho.to_yaml(chip), encoding="utf8")
    assert mho.load(file) == chip
    assert hash(mho.load(file)) == hash(chip)


def test_the_families_of_constants_know_their_dimension():
    assert Power(**constant(3, "mW")).number() == pytest.approx(3e-3)
    assert {c.dimension for c in Constant.__subclasses__()} == {
        "J", "J/bit", "W", "s", "Hz", "bit/s", "m^2", "V", "1"
    }  # fmt: skip


def test_table_names_every_constant_and_its_source():
    text = mho.load("hermes-64-core").table()
    assert "core.power" in text
    assert "300 ps per LSB" in text
    assert "links.bandwidth" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hardware.array.rows": None}, "the arrays of a chip have a size"),
        ({"hardware.adc.bits": None}, "hardware.adc.bits"),
        ({"hardware.adc.bits": 1}, "greater than or equal to 2"),
        ({"hardware.dac.bits": None}, "hardware.dac.bits"),
        ({"hardware.dac.scheme": "bit_serial"}, "bit_serial"),
        ({"core.count": 0}, "greater than or equal to 1"),
        ({"core.cell.supply": "square"}, "follows the supply voltage: give `supply`"),
        ({"core.power": constant(1, "mW")}, "`power` and `idle_share` go together"),
        ({"hardware": "no-such-preset"}, "no preset 'no-such-preset'"),
        ({"core.converters.energy": None}, "give `energy` .* or `survey`"),
    ],
)
def test_an_impossible_chip_is_refused(changes, said):
    with pytest.raises(mho.MhoError, match=said):
        mho.override(chip(), changes)


def test_hardware_is_no_chip_and_a_chip_no_hardware():
    import torch

    with pytest.raises(mho.MhoError, match="expected a Chip, got Hardware"):
        mho.cost(torch.nn.Linear(2, 2), "ideal", torch.zeros(1, 2))
    with pytest.raises(mho.MhoError, match=r"is a chip: take the hardware .*\.hardware"):
        mho.convert(torch.nn.Linear(2, 2), "hermes-64-core")


def test_scenario_and_scaled_paths_are_checked():
    from mho.chip._figures import Figures

    with pytest.raises(mho.MhoError, match="unknown scenario 'best'"):
        Figures(chip(), "best")
    with pytest.raises(mho.MhoError, match=r"no constant 'core\.cel'.*'core\.cell'"):
        Figures(chip(), "nominal", {"core.cel": 1.1})
