"""The shelf of presets: every file loads, says where it is from, and has the published numbers."""

import math

import pytest

import mho
from mho.errors import PresetError
from mho.spec import document
from mho.spec._presets import _shelf

PRESETS = [
    "afm-2025",
    "afm-training-2025",
    "aihwkit-tutorial-2023",
    "capacitor-2018",
    "cmo-hfox-2024",
    "ecram-2018",
    "ecram-mo-2019",
    "gokmen-vlasov-2016",
    "hermes-one-device",
    "hermes-two-devices",
    "ideal",
    "idealized-2019",
    "imac-9nm",
    "intel-c2c-2022",
    "pcm-joshi-2020",
    "pcm-nandakumar-2020",
    "reram-es-2018",
    "reram-hfo2-2022",
    "reram-om-2022",
    "reram-sb-2018",
    "reram-wan-2022",
    "samsung-mram-2022",
    "standard-hwa-2023",
    "state-independent",
]


def test_the_shelf():
    assert mho.presets() == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_each_has_an_origin(name):
    found = document(name)
    assert found.name == name
    assert found.fitted_on
    assert name == "ideal" or any(mark in found.source for mark in ("arXiv", "doi:"))
    assert mho.load(name) == mho.load(str(_shelf()[name]))


def test_ideal_is_everything_off():
    assert mho.load("ideal") == mho.Hardware()
    assert mho.load("ideal").ideal_product


def test_standard_hwa_2023():
    """Rasch et al., Nat. Commun. 14:5282 (2023), the standard crossbar model."""
    hw = mho.load("standard-hwa-2023")
    assert hw.dac.half_steps == hw.adc.half_steps == 127  # 254 steps
    assert hw.adc.bound == 10
    assert hw.noise.output == 0.04
    assert (hw.noise.read.kind, hw.noise.read.sigma) == ("pcm_read", 0.0175)
    assert (hw.array.rows, hw.array.cols) == (512, 512)
    assert hw.array.wires.scale == 1
    assert hw.array.wires.conductance_ratio == pytest.approx(1 / (0.35 * 5e-6), rel=1e-12)
    assert (hw.cell.kind, hw.cell.g_max) == ("pcm", 25e-6)
    assert hw.mapping.scaling == "column"


def test_aihwkit_tutorial_2023():
    """Le Gallo et al., APL Mach. Learn. 1:041102 (2023): 1/254, bound 10, noise 0.04, one scale."""
    hw = mho.load("aihwkit-tutorial-2023")
    assert hw.dac.half_steps == hw.adc.half_steps == 127
    assert (hw.adc.bound, hw.noise.output) == (10, 0.04)
    assert hw.noise.read is None
    assert hw.array.wires is None
    assert hw.mapping.scaling == "tile"
    assert hw.cell.g_max == 25e-6


def test_pcm_joshi_2020():
    cell = mho.load("pcm-joshi-2020").cell
    assert cell.g_max == 25e-6
    assert cell.programming.std.coefficients == (0.26348, 1.9650, -1.1731)
    assert (cell.drift.t0, cell.read.t_read) == (20.0, 250e-9)
    mean = cell.drift.nu_mean
    assert (mean.slope, mean.intercept, mean.low, mean.high) == (-0.0155, 0.0244, 0.049, 0.1)
    std = cell.drift.nu_std
    assert (std.slope, std.intercept, std.low, std.high) == (-0.0125, -0.0059, 0.008, 0.045)
    assert (cell.read.q.scale, cell.read.q.exponent, cell.read.q.cap) == (0.0088, 0.65, 0.2)


@pytest.mark.parametrize(
    ("name", "count", "g_max", "t0", "first"),
    [
        ("hermes-one-device", 1, 10.35, 200, 0.15781817),
        ("hermes-two-devices", 2, 20.7, 300, 0.16603222),
    ],
)
def test_hermes(name, count, g_max, t0, first):
    """Le Gallo et al., Nature Electronics 6:680 (2023), as in IBM's aihwkit."""
    cell = mho.load(name).cell
    assert cell.devices == count
    assert cell.g_max == pytest.approx(g_max * 1e-6, rel=1e-12)
    assert cell.drift.t0 == t0
    assert cell.read.t_read == 512e-9
    assert cell.programming.std.coefficients[0] == first


def test_afm_2025():
    """Buechel et al., NeurIPS 2025: a cubic on each side of 52.5 of 180, exact below 0.6."""
    hw = mho.load("afm-2025")
    law = hw.cell.programming
    assert hw.mapping.kind == "signed"
    assert law.full_scale == 180
    assert law.std.split * 180 == pytest.approx(52.5, rel=1e-12)
    assert law.reset_below * 180 == pytest.approx(0.6, rel=1e-12)
    one = sum(c * 10.0**k for k, c in enumerate(law.std.below.coefficients))
    assert one == pytest.approx(4.480, abs=5e-4)
    two = sum(c * 180.0**k for k, c in enumerate(law.std.above.coefficients))
    assert two == pytest.approx(19.198, abs=5e-4)


def test_afm_training_2025():
    """config.yaml of the published code: 254 steps in and out, bound 14, no tiles, no noise."""
    hw = mho.load("afm-training-2025")
    assert hw.cell == mho.load("afm-2025").cell
    assert hw.mapping == mho.load("afm-2025").mapping
    assert hw.dac.half_steps == hw.adc.half_steps == 127
    assert hw.adc.bound == 14
    assert hw.dac.range.kind == "learned"
    assert hw.array == mho.Array()
    assert hw.noise == mho.Noise()


def test_reram_wan_2022():
    """Wan et al., Nature 608:504 (2022): 40 uS, three times."""
    cell = mho.load("reram-wan-2022").cell
    assert cell.g_max == 40e-6
    assert cell.drift.times == (1.0, 86400.0, 172800.0)
    day = cell.drift.std[1].coefficients
    assert day == (0.701, 22.086, -50.773, 47.095, -16.458)


def test_cmo_hfox_2024():
    """Falcone et al., arXiv 2502.04524: 9 to 88.2 uS, single devices, acceptance of 0.2 %."""
    hw = mho.load("cmo-hfox-2024")
    assert (hw.cell.g_min, hw.cell.g_max) == (9e-6, 88.199997e-6)
    assert hw.cell.programming.acceptance_range == 0.2
    assert hw.mapping.kind == "single"
    assert hw.cell.drift.mean_slope == pytest.approx(-0.08900206e-6, rel=1e-12)
    assert hw.cell.read.t_read == 1e-6


def test_imac_9nm():
    """IMAC-Sim of Amin et al., ISCAS 2022: 5 and 15 kohm, 32 x 32, gain 30."""
    hw = mho.load("imac-9nm")
    assert 1 / hw.cell.g_max == pytest.approx(5e3, rel=1e-9)
    assert 1 / hw.cell.g_min == pytest.approx(15e3, rel=1e-8)
    assert (hw.array.rows, hw.array.cols, hw.array.combine.gain) == (32, 32, 30)
    assert (hw.mapping.kind, hw.mapping.zero) == ("ternary", "g_max")
    assert hw.dac == mho.DAC()
    assert hw.adc == mho.ADC()


def test_intel_c2c_2022():
    """Wang et al., VLSI 2022, and CiMLoop's model: 64 x 16, 8 bits everywhere, 2 fF unit."""
    hw = mho.load("intel-c2c-2022")
    assert (hw.array.rows, hw.array.cols) == (64, 16)
    assert hw.cell.bits == hw.mapping.bits == hw.dac.bits == hw.adc.bits == 8
    assert hw.array.combine.cell_capacitance == 2 * 2e-15
    assert hw.array.combine.full_drive == 0.5


def test_samsung_mram_2022():
    """Jung et al., Nature 601:211 (2022): 64 x 64, binary, a level for every sum."""
    hw = mho.load("samsung-mram-2022")
    assert (hw.array.rows, hw.array.cols) == (64, 64)
    assert (hw.dac.bits, hw.mapping.kind) == (1, "binary")
    assert 2 * hw.adc.half_steps + 1 == 65


def test_state_independent():
    """Rasch et al., AICAS 2021: 0.2 uS, exponents 0.1 and 0.05."""
    cell = mho.load("state-independent").cell
    assert cell.programming.std.value * 1e-6 * cell.g_max / 25e-6 == pytest.approx(0.2e-6)
    assert (cell.drift.nu_mean.value, cell.drift.nu_std.value) == (0.1, 0.05)
    assert math.isclose(cell.drift.t0, 20)


def test_an_unknown_name_names_the_nearest_and_all():
    with pytest.raises(PresetError, match=r"no preset 'hermes-two' \(did you mean") as error:
        mho.load("hermes-two")
    assert "hermes-two-devices" in str(error.value)
    assert all(name in str(error.value) for name in PRESETS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        (": [", "cannot read .* as YAML"),
        (b"\xff\xfe\x00", "cannot read .* as YAML"),
        ("", "holds NoneType, expected a mapping"),
        ("- 1", "holds list, expected a mapping"),
        ("cell: pcm", "schema is None; this version reads `schema: 1`"),
        ("schema: 2\ncell: pcm", "schema is 2; this version reads"),
        ("schema: 1\nadc: {bits: 8}\nadc: {bits: 6}", "key 'adc' is written twice"),
        ("schema: 1\nadc: {bits: 8, bits: 6}", "key 'bits' is written twice"),
        ("schema: 1\nadc: {bit: 8}", r"adc.bit: unknown field \(did you mean 'bits'\?\)"),
        ("schema: 1\n3: x", "field names must be text"),
        ("schema: 1\ncell: *nowhere", "cannot read .* as YAML"),
        ("schema: 1\ncell: {kind: !!python/object:os.system x}", "cannot read .* as YAML"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_corrupt_files(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    if isinstance(text, str):
        path.write_text(text, encoding="utf8")
    elif text is not None:
        path.write_bytes(text)
    with pytest.raises(PresetError, match=message) as error:
        mho.load(path)
    assert "my.yaml" in str(error.value)


def test_anchors_and_merges_work(tmp_path):
    """They are part of YAML, and not keys that are written twice."""
    path = tmp_path / "my.yaml"
    path.write_text(
        "schema: 1\n"
        "dac: &converter {bits: 6, range: {kind: fixed, value: 1}}\n"
        "adc: {bits: 8, bound: 10}\n"
        "noise: {output: 0.1}\n"
        "array: &array {rows: 64}\n",
        encoding="utf8",
    )
    assert mho.load(path).dac.bits == 6
    path.write_text(
        "schema: 1\nsource: none\narray: {<<: {rows: 64, cols: 32}, cols: 16}\n", encoding="utf8"
    )
    assert (mho.load(path).array.rows, mho.load(path).array.cols) == (64, 16)


def test_a_preset_without_an_origin_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text("schema: 1\nsource: here\n", encoding="utf8")
    monkeypatch.setattr("mho.spec._presets._shelf", lambda: {"mine": path})
    with pytest.raises(PresetError, match="its numbers have no origin"):
        mho.load("mine")
    assert mho.load(path) == mho.Hardware()  # a file of one's own needs none


def test_parts_of_presets():
    """Any field may name a preset; other parts stay as they are."""
    hw = mho.Hardware(cell="pcm-joshi-2020", noise="standard-hwa-2023", dac={"range": "per_token"})
    assert hw.cell == mho.load("pcm-joshi-2020").cell
    assert hw.noise == mho.load("standard-hwa-2023").noise
    assert hw.adc == mho.ADC()
    with pytest.raises(mho.MhoError, match="preset 'ideal' says nothing about 'noise'"):
        mho.Hardware(noise="ideal")
    with pytest.raises(mho.MhoError, match="no preset 'pcn'"):
        mho.Hardware(cell="pcn")
