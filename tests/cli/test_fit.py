"""`mho fit`, from a file to a device, a YAML file and a plot."""

import numpy as np
import pytest

import mho


@pytest.fixture
def trace(tmp_path):
    """Soft bounds from -0.8 to 1.2 with steps of 0.02 and noise of pulses of 30 %, synthetic."""
    random, weight = np.random.default_rng(3), 0.0
    rows = ["pulses,weight", "0,0"]
    for sign in np.tile(np.repeat([1, -1], 100), 2):
        bound = 1.2 if sign > 0 else -0.8
        step = 0.02 * (1 - weight / bound)
        weight += sign * step * (1 + 0.3 * random.standard_normal())
        rows.append(f"{sign},{weight:.6f}")
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(rows))
    return path


def test_fit_writes_hardware_and_a_plot(run, trace, tmp_path):
    out, plot = tmp_path / "my.yaml", tmp_path / "my.png"
    result = run("fit", trace, "--restarts", 1, "--out", out, "--plot", plot)
    assert result.code == 0, result.err
    assert "step_up" in result.out
    assert "95% interval" in result.out
    device = mho.load(out).cell.device
    assert device.kind == "soft_bounds"
    assert abs(device.cycle_noise - 0.3) < 5 * 0.3 / np.sqrt(2 * 400)
    assert plot.stat().st_size > 10_000


def test_fit_with_fixed_fields_and_measured_tables(run, trace):
    fixed = run("fit", trace, "--fix", "low=-0.8", "--fix", "high=1.2", "--restarts", 1)
    assert fixed.code == 0, fixed.err
    assert "high" not in fixed.out
    table = run("fit", trace, "--kind", "measured", "--nodes", 4)
    assert table.code == 0, table.err
    assert "noise_up" in table.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.csv"], "no such file: none.csv"),
        (["TRACE", "--kind", "softbounds"], "known kinds"),
        (["TRACE", "--fix", "low"], "is not FIELD=VALUE"),
        (["TRACE", "--fix", "high=0.1"], "readings reach"),
        (["TRACE", "--kind", "measured", "--fix", "low=-1"], "nothing to fix"),
        (["TRACE", "--out", "no/such/folder/my.yaml"], "there is no folder"),
    ],
)
def test_fit_says_what_is_wrong_in_one_message(run, trace, arguments, words):
    result = run("fit", *[trace if a == "TRACE" else a for a in arguments])
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
