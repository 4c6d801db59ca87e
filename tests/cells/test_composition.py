"""Cells put together from laws, presets, and the errors that bad input meets."""

from typing import Literal

import pytest
import torch
import yaml
from pydantic import Field

from mho.cells import (
    Cell,
    CmoHfox,
    Composed,
    Constant,
    Curve,
    Drift,
    Gaussian,
    Hermes,
    Pcm,
    ReramWan,
)
from mho.ops import Stream
from mho.spec import Spec, document, override

STREAM = Stream(1, "tile")
TARGET = torch.full((2, 20, 30), 10e-6)
LAWS = ("programming", "drift", "read")


@pytest.mark.parametrize("cell", [Pcm(), Hermes(devices=1), CmoHfox()], ids=lambda cell: cell.kind)
@pytest.mark.parametrize("on", LAWS)
def test_laws_are_switched_off_one_by_one(cell, on):
    """With all laws but one off, the chip equals the one composed of that law alone."""
    alone = cell.with_fields(**{name: None for name in LAWS if name != on})
    fields = {name: getattr(cell, name) for name in ("g_min", "g_max", "bounded", on)}
    composed = Composed(**fields)
    state, same = alone.program(TARGET, STREAM), composed.program(TARGET, STREAM)
    assert torch.equal(state.programmed, same.programmed)
    for t in (0.0, 3600.0):
        g = alone.conductance(state, t, STREAM)
        assert torch.equal(g, composed.conductance(same, t, STREAM))
        at_work = {"programming": True, "drift": t > 0, "read": t > 0 or cell.kind != "cmo_hfox"}[
            on
        ]
        assert torch.equal(g, TARGET) != at_work


def test_laws_of_different_memories_combine():
    """ReRAM-like programming, phase-change drift: each law draws its own numbers."""
    wan = ReramWan()
    cell = Composed(g_max=40e-6, programming=wan.programming, drift=Pcm().drift)
    state = cell.program(TARGET, STREAM)
    assert torch.equal(state.programmed, wan.program(TARGET, STREAM).programmed)
    assert torch.equal(state.coefficient, Pcm(g_max=40e-6).program(TARGET, STREAM).coefficient)


def test_mean_error_moves_the_magnitude():
    law = Gaussian(std=Constant(value=0), mean=Constant(value=-1.5))  # uS
    for signed, target in ((False, 10e-6), (True, 10e-6), (True, -10e-6)):
        cell = Composed(g_max=25e-6, signed=signed, programming=law)
        programmed = cell.program(torch.tensor([target]), STREAM).programmed
        assert float(programmed) == pytest.approx(target * 0.85, rel=1e-6)


@pytest.mark.parametrize("law", ["programming", "drift", "read"])
def test_scale_zero_switches_a_law_off(law):
    cell = override(Pcm(), {f"{law}.scale": 0.0})
    off = Pcm().with_fields(**{law: None})
    state, same = cell.program(TARGET, STREAM), off.program(TARGET, STREAM)
    assert torch.equal(
        cell.conductance(state, 3600.0, STREAM), off.conductance(same, 3600.0, STREAM)
    )


def test_new_law_is_one_class():
    """Known to the family, to text and to every cell from its definition on."""

    class Halving(Drift):
        kind: Literal["test_halving"] = "test_halving"
        half_life: float = Field(gt=0, description="Time in which half is lost [s].")

        def coefficient(self, target, g_max, xi):
            return torch.zeros_like(target)

        def apply(self, programmed, coefficient, seconds, g_max, draw):
            return programmed * 0.5 ** (seconds / self.half_life)

    try:
        cell = Composed(g_max=25e-6, drift={"kind": "test_halving", "half_life": 10})
        state = cell.program(TARGET, STREAM)
        assert torch.equal(cell.conductance(state, 20.0, STREAM), TARGET / 4)
    finally:
        del Drift.members["test_halving"]


class Holder(Spec):
    cell: Cell


PRESETS = {
    "pcm-joshi-2020": Pcm(),
    "hermes-two-devices": Hermes(devices=2),
    "hermes-one-device": Hermes(devices=1),
    "afm-2025": Holder(cell="afm").cell,
    "reram-wan-2022": ReramWan(),
    "cmo-hfox-2024": CmoHfox(),
    "state-independent": Holder(cell="state_independent").cell,
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_their_cell_and_their_origin(name):
    preset = document(name)
    assert Holder(cell=preset.fields["cell"]).cell == PRESETS[name]
    assert preset.source
    assert preset.fitted_on


def test_cell_reads_from_yaml_with_units():
    text = """
    kind: composed
    g_min: 1 uS
    g_max: 0.1 mS
    programming: {kind: gaussian, std: {kind: constant, value: 0.5}}
    drift: {kind: power_law, nu_mean: {kind: constant, value: 0.05},
            nu_std: {kind: constant, value: 0.01}, t0: 1 min}
    read: {kind: flicker, q: {kind: constant, value: 0.01}, t_read: 100 ns}
    faults: {at_zero: 0.01}
    variability: {gain: 0.02}
    """
    cell = Holder(cell=yaml.safe_load(text)).cell
    assert (cell.g_min, cell.g_max, cell.drift.t0, cell.read.t_read) == (1e-6, 1e-4, 60.0, 1e-7)
    assert cell == Composed(**yaml.safe_load(text))


@pytest.mark.parametrize("family", [Cell, Curve, Drift])
def test_kinds_are_named_after_their_family(family):
    for kind, member in family.members.items():
        assert member.model_fields["kind"].default == kind
        assert "-" not in kind
