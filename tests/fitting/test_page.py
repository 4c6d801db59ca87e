"""The code of the page on own devices runs as it stands, and its table loads."""

import re
from pathlib import Path

import mho

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-devices.md").read_text(encoding="utf8")


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
    names: dict[str, object] = {}
    exec(compile(code, "own-devices.md", "exec"), names)
    assert "spread over devices" in capsys.readouterr().out
    assert mho.load("my.yaml").cell.device.kind == "soft_bounds"
    assert Path("fit.png").exists()


def test_the_example_is_what_it_says(tmp_path):
    """Drawn from noise 0.4 of pulses: 720 of them."""
    found = mho.fit_response(ROOT / "docs" / "data" / "synthetic-trace.csv", restarts=1)
    assert abs(found.device.cycle_noise - 0.4) < 5 * 0.4 / (2 * 720) ** 0.5 / 0.9  # reading noise
    (table,) = re.findall(r"```\n(conductance.*?)```", PAGE, flags=re.DOTALL)
    file = tmp_path / "table.csv"
    file.write_text(table)
    assert len(mho.measured_response(file).device.up) == 3
