"""Switching effects off: each switch moves its own fields only, and none is forgotten."""

import copy

import pytest
import torch
from torch import nn

import mho
from chips import EVERY_SPREAD, PIXELS
from mho.deploy._effects import EFFECTS, driven_inputs, effects, only

EVERYTHING = EVERY_SPREAD.with_fields(
    dac=EVERY_SPREAD.dac.with_fields(asymmetry=0.1),
    adc=EVERY_SPREAD.adc.with_fields(asymmetry=0.1),
    noise=EVERY_SPREAD.noise.with_fields(input=0.01),
)
SLICED = EVERYTHING.with_fields(mapping={"kind": "bit_sliced", "bits": 5, "slice_bits": 2})
BIT_SERIAL = EVERYTHING.with_fields(
    dac={"bits": 6, "range": "calibrated", "scheme": "bit_serial", "rounding": "stochastic"},
    array={"rows": 20, "cols": 7},
)
RETRY = mho.override(EVERYTHING, {"adc.overflow": "retry"})
PER_TOKEN = mho.override(EVERYTHING, {"dac.range": "per_token"})
HALF = EVERYTHING.with_fields(digital="half")
INTEGERS = EVERYTHING.with_fields(digital={"kind": "fixed_point", "step": "parameters"})
HARDWARE = {
    "every effect": EVERYTHING,
    "sliced weights": SLICED,
    "bit serial": BIT_SERIAL,
    "retries": RETRY,
    "per token": PER_TOKEN,
    "half precision": HALF,
    "integers": INTEGERS,
    **{name: mho.load(name) for name in mho.presets()},
}

# What describes the hardware but is no departure from the exact product by itself.
STRUCTURE = {
    "array": {"rows", "cols", "partition", "combine"},
    "cell": {"kind", "g_min", "g_max", "signed", "bounded", "device"},
    "dac": {"bits", "steps", "range", "rounding", "scheme"},
    "adc": {"bound", "granule", "granules", "rounding", "columns_per_converter"},
    "noise": set(),
}


@pytest.mark.parametrize("part", STRUCTURE)
def test_every_field_belongs_to_an_effect_or_to_the_structure(part):
    """Whoever adds a field to the hardware must say here which of the two it is."""
    fields = set(type(getattr(EVERYTHING, part)).model_fields)
    switched = {name for effect in EFFECTS for name in effect.off.get(part, ())}
    assert switched | STRUCTURE[part] == fields
    assert not switched & STRUCTURE[part]


def test_every_effect_is_on_somewhere():
    somewhere = set(effects(EVERYTHING)) | set(effects(SLICED)) | set(effects(HALF))
    assert somewhere == {effect.name for effect in EFFECTS}
    assert not effects(mho.Hardware())


@pytest.mark.parametrize("name", HARDWARE)
def test_an_effect_is_switched_off_by_its_own_fields_only(name):
    hardware = HARDWARE[name]
    for effect in effects(hardware).values():
        changed = mho.diff(hardware, effect.without(hardware))
        own = {f"{part}.{field}" for part, fields in effect.off.items() for field in fields}
        if effect.name in ("ADC levels", "digital precision"):  # integers are computed from codes
            changed = {path: text for path, text in changed.items() if path[:8] != "digital."}
            assert effect.without(hardware).digital.integers is False
        assert {".".join(path.split(".")[:2]) for path in changed} <= own
        if effect.off:
            assert changed
            assert not effect.is_on(effect.without(hardware))
            assert effect.is_on(only(hardware, effect.name))


@pytest.mark.parametrize("hardware", [HALF, INTEGERS], ids=["half", "integers"])
def test_a_digital_unit_is_told_apart_as_a_whole(hardware):
    effect = effects(hardware)["digital precision"]
    assert effect.without(hardware).digital == mho.Hardware().digital
    alone = effects(only(hardware, "digital precision"))
    wanted = {"digital precision", *(["ADC levels"] if hardware is INTEGERS else [])}
    assert set(alone) - {"input clipping", "DAC levels"} == wanted


LAYERS = {
    "linear": (lambda: nn.Linear(75, 8), PIXELS.flatten(1).repeat(1, 3)),
    "convolution": (lambda: nn.Conv2d(1, 3, 3, padding=1), PIXELS),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "name", [n for n, hardware in HARDWARE.items() if hardware.array.combine.kind == "current_sum"]
)
def test_the_hardware_without_any_effect_multiplies_exactly_what_is_driven(name, kind):
    """On a programmed chip, up to rounding errors of single precision.

    Rules other than the sum of currents compute something else by themselves (tests/circuits).
    """
    make, x = LAYERS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole, aged = HARDWARE[name], make()
    hardware = whole.with_fields(dac=whole.dac.with_fields(rounding="nearest"))
    ideal = copy.deepcopy(aged)
    if not hardware.mapping.exact:
        encode(ideal.weight)
    mho.convert(aged, only(hardware))
    array = mho.Array(rows=hardware.array.rows, cols=hardware.array.cols)
    mho.convert(ideal, driven_inputs(hardware, levels=True).with_fields(array=array))
    for model in (aged, ideal):
        mho.calibrate(model, [x])
    mho.program(aged, seed=3)
    mho.at(aged, "1 d")
    with torch.no_grad():
        assert aged(x).numpy() == pytest.approx(ideal(x).numpy(), rel=1e-4, abs=1e-5)


@torch.no_grad()
def encode(weight: torch.Tensor) -> None:
    """Round |w| / scale to 1/15, the scale being the largest of a column on an array of 20 rows."""
    matrix = weight.flatten(1)
    pieces = matrix.split([9] if matrix.shape[1] == 9 else [19, 19, 19, 18], dim=1)
    scales = [piece.abs().amax(1, keepdim=True) for piece in pieces]
    rounded = [(p / s * 15).round() / 15 * s for p, s in zip(pieces, scales, strict=True)]
    weight.copy_(torch.cat(rounded, 1).reshape(weight.shape))
