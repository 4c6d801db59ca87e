"""The reproductions: their statistics, their page, and that each runs and answers its claim.

The runs are of `--smoke` size, which is far too small for the claims: what is checked is that
every row is answered, from numbers that can be right, and that the page is only changed by a full
run. They need the data that `make data` installs.
"""

import importlib
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "reproductions"), str(ROOT / "examples")]

import _common  # noqa: E402 - found in the folder just named

ROWS = {
    "hwa_over_time": {"hwa-fashion", "hwa-spoken", "hwa-spelling"},
    "spelling_weight_noise": {"spelling-noise"},
    "matched_mvm_error": {"matched-error"},
    "programming_tolerance": {"tolerance"},
    "lora_on_analog": {"lora", "lora-bits"},
    "batch_norm": {"batch-norm", "recalibration"},
    "l1_batch_norm": {"l1-batch-norm"},
    "learning_rate": {"learning-rate"},
    "implicit_penalty": {"implicit-penalty"},
    "correlation_detection": {"correlation-detection"},
    "programming_map": {"programming-map"},
    "residual_learning": {"residual-learning"},
    "gradient_programming": {"gradient-programming"},
    "digital_unit": {"digital-unit"},
    "perceptron": {"perceptron"},
    "power_response": {"power-response"},
    "analog_chain": {"analog-chain", "correlation-ladder"},
    "resistance_sum_perceptron": {"resistance-sum"},
    "adc_aware": {"adc-aware"},
    "lenet_in_memory": {"lenet"},
    "analog_transfer_learning": {"transfer-cnn", "transfer-transformer"},
}


# ---- statistics and rows -------------------------------------------------------------------------


def test_a_mean_has_the_standard_error_of_its_runs() -> None:
    """Of 1, 2, 3, 4: mean 2.5, variance 5/3 with n - 1, standard error sqrt(5/3/4)."""
    mean = _common.Mean.of([1, 2, 3, 4])
    assert (mean.value, mean.runs) == (2.5, 4)
    assert mean.error == pytest.approx(math.sqrt(5 / 12))
    assert mean.above(2.5 - 2.01 * mean.error)
    assert not mean.above(2.5 - 1.99 * mean.error)


def test_one_run_proves_nothing() -> None:
    assert not _common.Mean.of([1.0]).above(0.0)


def test_a_row_is_answered_and_the_claim_stays() -> None:
    page = "| | claim | ours | verdict |\n| [A](#a) | so | old | ? |\n| [B](#b) | b | x | y |\n"
    report = _common.Report("a", "says so", "1.0 ± 0.1 %", "reproduced")
    assert report.in_table(page) == page.replace("old | ?", "1.0 ± 0.1 % | reproduced")
    with pytest.raises(ValueError, match="has 0 rows for #c"):
        _common.Report("c", "", "", "").in_table(page)


def test_every_script_and_every_row_is_on_the_page() -> None:
    page = _common.PAGE.read_text("utf8")
    scripts = {path.stem for path in (ROOT / "reproductions").glob("[!_]*.py")}
    assert scripts == set(ROWS)
    for script, rows in ROWS.items():
        assert f"reproductions/{script}.py" in page
        for row in rows:
            _common.Report(row, "", "", "").in_table(page)
            assert f"{{#{row}}}" in page
    for figure in re.findall(r"\(figures/([^)]*)\)", page):
        assert (_common.PAGE.parent / "figures" / figure).is_file()


# ---- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run a script in small, in an empty cache; return its rows."""
    page = _common.PAGE.read_text("utf8")
    reports: list[_common.Report] = []
    publish = _common.Report.publish

    def record(report: _common.Report, size: str) -> None:
        reports.append(report)
        publish(report, size)

    monkeypatch.setattr(_common, "ROOT", tmp_path)
    monkeypatch.setattr(_common, "CACHE", tmp_path)
    monkeypatch.setattr(_common.Report, "publish", record)

    def main(name: str, *arguments: str) -> list[_common.Report]:
        import _data

        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--smoke", *arguments])
        try:
            importlib.import_module(name).main()
        except _data.DataMissing as missing:
            pytest.skip(str(missing))
        assert _common.PAGE.read_text("utf8") == page
        return reports

    return main


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_in_small(run: Any, name: str, tmp_path: Path) -> None:
    with np.errstate(all="raise", under="ignore"):
        reports = run(name)
    assert {report.key for report in reports} == ROWS[name]
    for report in reports:
        numbers = re.findall(r"[-+]?(?:\d+\.?\d*|nan|inf)", report.ours)
        assert numbers
        assert all(math.isfinite(float(number)) for number in numbers)
        assert report.verdict
        drawn = tmp_path / "smoke" / f"{report.key}.png"
        assert (report.figure is not None) == drawn.is_file()
