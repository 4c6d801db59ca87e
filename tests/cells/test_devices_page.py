"""The page on devices runs from top to bottom, and its tables are those of the library."""

import re
from pathlib import Path

import pytest
import yaml

import mho
from mho.cells import Composed, Device, PulsedDevice, UnitCell
from mho.spec import Variant

PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def forgotten_kinds():
    before = dict(Device.members)
    yield
    for kind in set(Device.members) - set(before):
        del Device.members[kind]


def test_the_examples_run_in_order(tmp_path, monkeypatch, capsys, forgotten_kinds):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "devices"}
    code = blocks("python")
    assert len(code) == 5
    for block in code:
        exec(compile(block, "docs/devices.md", "exec"), namespace)  # asserts inside
    assert "soft_bounds 0.0949 21.07" in capsys.readouterr().out
    assert (tmp_path / "reram-sb.png").exists()
    assert namespace["hw"].cell.device.stuck == 0.135


def test_the_files_load(tmp_path):
    part, whole = blocks("yaml")
    fields = yaml.safe_load(part)
    assert isinstance(mho.Hardware(**fields).cell.device, UnitCell)
    file = tmp_path / "my.yaml"
    file.write_text(whole)
    device = mho.load(file).cell.device
    assert device.up == (1.8, 1.4, 1.0, 0.5, 0.1)
    assert device.granularity == pytest.approx(0.01 * (1.0 + 0.9) / 2)


def test_every_response_is_in_the_table():
    members = {k: m for k, m in Variant.families["device"].members.items()}
    missing = [k for k, m in members.items() if f"`{k}`" not in PAGE]
    assert not missing
    assert all(issubclass(m, Device) for m in members.values())


def test_the_table_of_presets():
    """Step and number of states as the library has them, to the digits that are written."""
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE, flags=re.MULTILINE))
    names = {n for n in mho.presets() if mho.load(n).cell.device is not None}
    assert names <= set(rows)
    for name in names:
        device = mho.load(name).cell.device
        response, step, states, *_ = rows[name].split(" | ")
        (single, *_) = device.singles
        assert isinstance(single, PulsedDevice)
        assert f"`{device.kind}`" in response
        assert f"`{single.kind}`" in response
        assert float(step) == pytest.approx(single.step, rel=0.01)
        count = (device.high - device.low) / device.granularity
        assert float(states.replace(" ", "")) == pytest.approx(count, rel=0.02)


def test_a_cell_with_a_device_is_signed():
    cell = Composed(g_max=1e-6, signed=True, device="soft_bounds")
    assert mho.Hardware(cell=cell, mapping="signed").cell.device.kind == "soft_bounds"
