"""Published figures of chips, from the constants of the presets."""

import pytest
import torch

import mho

from .chips import resnet9


@pytest.mark.parametrize(
    ("name", "tops", "efficiency", "nanoseconds", "density"),
    [
        ("hermes-64-core", 63.1, 9.76, 133, 1.55),
        ("hermes-64-core-4-phase", 16.1, 2.48, 521, 0.400),
    ],
)
def test_hermes_reproduces_its_peak_figures(name, tops, efficiency, nanoseconds, density):
    """Le Gallo et al., Nature Electronics 6:680 (2023), abstract and Table I."""
    peak = mho.load(name).peak()
    assert peak.time * 1e9 == pytest.approx(nanoseconds, rel=2e-3)
    assert peak.tops == pytest.approx(tops, rel=2e-3)
    assert peak.tops_per_watt == pytest.approx(efficiency, rel=1e-2)
    assert peak.tops_per_mm2 == pytest.approx(density, rel=2e-2)


def test_both_read_modes_have_the_same_constants():
    one, four = mho.load("hermes-64-core"), mho.load("hermes-64-core-4-phase")
    assert set(mho.diff(one, four)) == {
        "core.timing.phases", "hardware.dac.scheme.kind", "hardware.dac.scheme.sum"
    }  # fmt: skip


SUPPLIES = (0.7, 0.8, 0.9, 1.0, 1.1)
EFFICIENCY = (31.998, 22.590, 18.439, 16.376, 15.467)
DENSITY = (2.377, 2.858, 3.200, 3.596, 3.941)


@pytest.mark.parametrize(
    ("supply", "efficiency", "density"), list(zip(SUPPLIES, EFFICIENCY, DENSITY, strict=True))
)
def test_the_c2c_macro_follows_its_supply(supply, efficiency, density):
    """Wang et al., VLSI 2022 and JSSC 2023: the sweep is predicted from 1.0 V, not fitted."""
    peak = mho.override(mho.load("c2c-macro"), {"supply.voltage": supply}).peak()
    assert peak.tops_per_watt == pytest.approx(efficiency, rel=0.15)
    assert peak.tops_per_mm2 == pytest.approx(density, rel=0.02)


def test_the_c2c_macro_splits_as_published():
    """Energy ADC 34, DAC 22, MAC 40, other 4 %; area 13, 30, 46, 11 % (CiMLoop, ISPASS 2024)."""
    peak = mho.load("c2c-macro").peak()
    energy = {k: v for k, v in peak.energy.items() if k != "local digital"}
    shares = {k: v / sum(energy.values()) for k, v in energy.items()}
    expected = {"converters": 0.34, "drivers": 0.22, "cells": 0.40, "other": 0.04}
    assert shares == pytest.approx(expected, abs=5e-3)
    assert sum(peak.area.values()) * 1e6 == pytest.approx(0.124, rel=5e-3)
    shares = {k: v / sum(peak.area.values()) for k, v in peak.area.items()}
    expected = {"converters": 0.13, "drivers": 0.30, "cells": 0.46, "core": 0.11}
    assert shares == pytest.approx(expected, abs=5e-3)


def test_the_cells_and_ladders_of_the_c2c_macro_are_as_large_as_physics_says():
    chip = mho.load("c2c-macro")
    number = chip.figures()
    # 8 bits of three 2 fF capacitors each at 1 V; two 5 kohm ladders at half the supply.
    assert number("core.cell") == pytest.approx(8 * 3 * 2e-15 * 1.0**2, rel=0.1)
    assert number("core.row_power") == pytest.approx(2 * 0.5**2 / 5e3, rel=0.1)


@pytest.mark.parametrize("name", ["hermes-64-core", "hermes-64-core-4-phase"])
def test_a_resnet9_is_in_the_range_of_the_measured_one(name):
    """Le Gallo et al. 2023: an input of a layer of ResNet-9 takes 1.52 us and 1.51 uJ.

    The time is the mean of a vector over the layers; the energy is that of a vector through every
    layer once, as 1.51 uJ are 2 x 1.87 M operations at 2.48 TOPS/W.
    """
    model = resnet9()
    weights = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert weights == pytest.approx(1.87e6, rel=0.01)
    found = mho.cost(model, name, torch.zeros(1, 3, 32, 32), inputs=1)
    layers = found.layers()
    seconds = sum(layer["vector_seconds"] for layer in layers) / len(layers)
    assert 1.52e-6 / 1.5 < seconds < 1.5 * 1.52e-6
    joules = sum(layer["vector_joules"] for layer in layers)
    published = {"hermes-64-core": 2 * 1.87e6 / 9.76e12, "hermes-64-core-4-phase": 1.51e-6}[name]
    assert published / 1.5 < joules < 1.5 * published


def test_the_survey_agrees_with_its_published_evaluations():
    """Energies per conversion [pJ] of the regression of CiMLoop (ISPASS 2024)."""
    from mho.chip._survey import conversion_energy

    table = {
        (14e-9, 4): 0.20, (14e-9, 6): 0.22, (14e-9, 8): 0.36, (14e-9, 10): 0.70,
        (32e-9, 4): 0.92, (32e-9, 8): 1.71, (65e-9, 6): 4.0, (65e-9, 10): 12.5,
    }  # fmt: skip
    for (node, bits), expected in table.items():
        assert conversion_energy(bits, node, 1e7) * 1e12 == pytest.approx(expected, rel=0.03)
    assert conversion_energy(8, 32e-9, 1.28e9) * 1e12 == pytest.approx(1.93, rel=0.03)


def test_the_survey_is_not_asked_below_its_range():
    chip = mho.load("c2c-macro")
    with pytest.raises(mho.MhoError, match="says nothing about 3 bits, only about 4 or more"):
        mho.override(chip, {"hardware.adc.bits": 3}).peak()
    low = mho.override(chip, {"hardware.adc.bits": 3, "core.converters.bits": 3})
    assert low.peak().energy["converters"] == chip.peak().energy["converters"]
