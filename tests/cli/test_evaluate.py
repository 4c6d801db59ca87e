"""evaluate and diagnose: the user's files, the same figures as in Python, the report, mistakes."""

import csv
import json
import re
from importlib import import_module

import pytest

import mho

MODEL, DATA = "user_model.py:build", "user_data.py:load"
QUICK = ("--instances", 2, "--times", "1s,1d")


def in_python(**options):
    """The same evaluation by the library."""
    module = import_module("user_data")
    model = module.build()
    mho.convert(model, mho.override(mho.load("standard-hwa-2023"), {"adc.bits": 6}))
    mho.calibrate(model, [module.x])
    return mho.evaluate(model, module.score, times=["1 s", "1 d"], instances=2, **options)


def test_evaluate_prints_receipt_and_table_of_the_library(run, files):
    result = run("evaluate", MODEL, "--data", DATA, "--set", "adc.bits=6", *QUICK, "--seed", 4)
    assert result.code == 0, result.err
    assert "2 matrices on 2 arrays" in result.out
    assert in_python(seed=4).table() in result.out


@pytest.mark.slow
def test_worker_processes_find_the_files_and_change_nothing(run, files):
    arguments = ("evaluate", MODEL, "--data", DATA, *QUICK)
    shared = run(*arguments, "--workers", 2)
    assert shared.code == 0, shared.err
    assert shared.out == run(*arguments).out


def test_files_elsewhere_are_found_with_what_lies_beside_them(
    run, files, tmp_path_factory, monkeypatch
):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    result = run("evaluate", f"{files}/{MODEL}", "--data", f"{files}/{DATA}", *QUICK)
    assert result.code == 0, result.err


def test_affine_compensation_uses_the_batches_of_an_iterator_again(run, files):
    data = "user_data.py:generator"
    result = run("evaluate", MODEL, "--data", data, "--compensation", "affine", *QUICK)
    assert result.code == 0, result.err
    assert "compensation affine" in result.out


def test_a_score_alone_is_enough_where_nothing_needs_data(run, files):
    score = "user_data.py:score"
    result = run("evaluate", MODEL, "--score", score, "--hardware", "pcm-joshi-2020", *QUICK)
    assert result.code == 0, result.err
    refused = run("evaluate", MODEL, "--score", score, *QUICK)
    assert refused.code == 2
    assert "--data" in refused.err
    fixed = ("--set", "dac.range={kind: fixed, value: 4}")
    assert run("evaluate", MODEL, "--score", score, *fixed, *QUICK).code == 0


def test_csv_has_a_line_for_every_chip_and_time(run, files):
    assert run("evaluate", MODEL, "--data", DATA, *QUICK, "--csv", "chips.csv").code == 0
    with (files / "chips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["time"]) for row in rows] == [
        ("0", "1 s"), ("0", "1 d"), ("1", "1 s"), ("1", "1 d"),
    ]  # fmt: skip


def test_modules_can_stay_digital(run, files):
    result = run("evaluate", MODEL, "--data", DATA, *QUICK, "--keep-digital", "2")
    assert "1 matrices on 1 arrays" in result.out
    unknown = run("evaluate", MODEL, "--data", DATA, *QUICK, "--keep-digital", "head")
    assert unknown.code == 2
    assert "no module of the model is named 'head'; it has: 0, 1, 2" in unknown.err


def test_the_report_needs_no_other_file_and_escapes_names(run, files, tmp_path):
    odd = tmp_path / "a&b <i>"
    odd.mkdir()
    (odd / "odd_model.py").write_text((files / "user_model.py").read_text())
    arguments = ("evaluate", f"{odd}/odd_model.py:build", "--data", f"{files}/{DATA}", *QUICK)
    pages = []
    for page in (files / "one.html", files / "two.html"):
        result = run(*arguments, "--chance", 0.5, "--set", "adc.bits=6", "--html", page)
        assert result.code == 0, result.err
        pages.append(page.read_text(encoding="utf8"))
    assert pages[0] == pages[1]
    assert "a&amp;b &lt;i&gt;/odd_model.py:build" in pages[0]
    assert "<i>" not in pages[0]
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', pages[0])
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "@import" not in pages[0]
    assert "url(" not in pages[0]
    found = in_python(chance=0.5)
    for row in found.rows():
        assert f"<td>{row['mean']:.4f}</td>" in pages[0]
        assert f"{row['half_width_95'] + row['mean']:.4f}</td>" in pages[0]


def test_one_chip_has_a_report_without_intervals(run, files):
    page = files / "one.html"
    arguments = ("--instances", 1, "--times", "1 h", "--html", page)
    assert run("evaluate", MODEL, "--data", DATA, *arguments).code == 0
    assert "one chip" in page.read_text(encoding="utf8")
    assert "nan" not in page.read_text(encoding="utf8").split("base64")[-1].split('"', 1)[1]


def test_diagnose_prints_draws_and_writes_figures(run, files):
    arguments = ("--time", "1 d", "--seed", 3, "--plot", "why.svg", "--json", "why.json")
    result = run("diagnose", MODEL, "--data", DATA, *arguments)
    assert result.code == 0, result.err
    assert "chip of seed 3, 1 d old" in result.out
    assert "<svg" in (files / "why.svg").read_text()
    layers = json.loads((files / "why.json").read_text())["layers"]
    assert [layer["name"] for layer in layers] == ["0.weight", "2.weight"]
    assert f"{layers[0]['snr_db']:.1f} dB" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user_model.py", "--data", DATA), "FILE.py:function"),
        (("user_model.py:", "--data", DATA), "FILE.py:function"),
        (("no_model.py:build", "--data", DATA), "no such file: no_model.py"),
        (("notes.txt:build", "--data", DATA), "not a Python file"),
        (("user_model.py:biuld", "--data", DATA), "Did you mean 'build'?"),
        (
            ("user_model.py:number", "--data", DATA),
            "returned int; it must return a torch.nn.Module",
        ),
        (("user_model.py:wants_more", "--data", DATA), "callable without arguments"),
        (("user_model.py:Net", "--data", DATA), "callable without arguments"),
        (("random.py:build", "--data", DATA), "the name of another module"),
        ((MODEL,), "--data DATA.py:load returns (batches, score)"),
        ((MODEL, "--data", DATA, "--score", "user_data.py:score"), "give one of them"),
        ((MODEL, "--data", "user_data.py:bare"), "must return the pair (batches, score)"),
        ((MODEL, "--data", "user_data.py:swapped"), "must return the pair (batches, score)"),
        ((MODEL, "--data", "user_data.py:tensor"), "return [x], score for a single batch x"),
        ((MODEL, "--data", "user_data.py:empty"), "no batch of data"),
        ((MODEL, "--data", DATA, "--hardware", "hermes"), "no preset 'hermes'"),
        ((MODEL, "--data", DATA, "--set", "adc.bits=six"), "adc.bits"),
        ((MODEL, "--data", DATA, "--times", "1 m"), "is not in s"),
        ((MODEL, "--data", DATA, "--times", "1s,1s"), "each once"),
        ((MODEL, "--data", DATA, "--instances", "0"), "--instances"),
        ((MODEL, "--data", DATA, "--compensation", "gobal"), "global_exact"),
        ((MODEL, "--data", DATA, "--html", "no/folder/r.html"), "there is no folder"),
        ((MODEL, "--data", DATA, "--csv", "."), "is a folder"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(run, files, arguments, said):
    (files / "notes.txt").touch()
    (files / "random.py").write_text("def build(): ...\n")
    result = run("evaluate", *arguments)
    assert result.code == 2, result.exception
    assert said in result.err
    assert "Traceback" not in result.err


def test_an_error_of_the_users_own_code_keeps_its_traceback(run, files):
    result = run("evaluate", "user_model.py:fails", "--data", DATA)
    assert result.code == 1
    assert isinstance(result.exception, KeyError)
    assert result.exception.__notes__ == ["raised by user_model.py:fails (MODEL)"]
    (files / "user_typo.py").write_text("import torhc\n")
    result = run("evaluate", "user_typo.py:build", "--data", DATA)
    assert isinstance(result.exception, ModuleNotFoundError)
    assert result.exception.__notes__ == ["raised while user_typo.py was imported (MODEL)"]
