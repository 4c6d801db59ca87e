"""cost, place, sweep: what the command says about chips."""

import json

import pytest

import mho


def test_cost_prints_tables_and_writes_files(run, files):
    result = run(
        "cost", "user_model.py:build", "--chip", "c2c-macro", "--shape", "4,6", "--inputs", 2,
        "--json", "cost.json", "--html", "cost.html", "--plot", "cost.png",
        "--accelforge", "arch.yaml", "--set", "hardware.adc.bits=6", "--set", "core.count=2",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "three strongest constants" in result.out
    data = json.loads((files / "cost.json").read_text())
    energy = next(row for row in data["figures"] if row["figure"] == "energy")
    assert energy["optimistic"] < energy["nominal"] < energy["pessimistic"]
    assert {layer["vectors"] for layer in data["layers"]} == {4}
    for name in ("cost.html", "cost.png", "arch.yaml"):
        assert (files / name).stat().st_size > 500
        assert f"wrote {name}" in result.out


def test_place_says_what_goes_where_and_what_does_not(run, files):
    result = run("place", "user_model.py:build", "--chip", "c2c-macro", "--plot", "floor.png")
    assert result.code == 0, result.err
    assert "0.weight" in result.out
    assert (files / "floor.png").is_file()
    tiny = ("--set", "core.arrays=1", "--set", "hardware.array.rows=4")
    result = run("place", "user_model.py:build", "--chip", "c2c-macro", *tiny)
    assert result.code == 0
    assert "left out" in result.out
    strict = run("place", "user_model.py:build", "--chip", "c2c-macro", *tiny, "--strict")
    assert strict.code == 2
    assert "the model does not fit" in strict.err


def test_sweep_writes_every_variant(run, files):
    result = run(
        "sweep", "user_model.py:build", "--data", "user_data.py:load", "--chip", "c2c-macro",
        "--vary", "adc.bits=4,8", "--vary", "supply.voltage=0.8", "--instances", 1,
        "--csv", "sweep.csv", "--json", "sweep.json", "--plot", "sweep.png",
    )  # fmt: skip
    assert result.code == 0, result.err
    lines = (files / "sweep.csv").read_text().splitlines()
    assert lines[0].startswith("adc.bits,supply.voltage,score")
    assert [line.split(",")[:2] for line in lines[1:]] == [["4", "0.8"], ["8", "0.8"]]
    assert len(json.loads((files / "sweep.json").read_text())["points"]) == 2


def test_chips_are_listed_shown_and_explained(run, tmp_path):
    listed = run("presets").out.replace("\n", "")
    assert all(name in listed for name in mho.chips())
    shown = run("presets", "show", "c2c-macro")
    file = tmp_path / "copy.yaml"
    file.write_text(shown.out, encoding="utf8")
    assert mho.load(file) == mho.load("c2c-macro")
    explained = run("explain", "hermes-64-core", "--set", "core.count=32")
    assert "32 cores of 256 x 256" in explained.out
    assert "core.power" in explained.out


COST = ("cost", "user_model.py:build", "--chip")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*COST, "ideal", "--shape", "1,6"), "ideal is hardware without cores"),
        ((*COST, "c2c-macr", "--shape", "1,6"), "did you mean 'c2c-macro'"),
        ((*COST, "c2c-macro"), "--shape 1,3,32,32 for zeros"),
        ((*COST, "c2c-macro", "--shape", "1,x"), "is no shape"),
        ((*COST, "c2c-macro", "--shape", "1,6", "--scenario", "best"), "unknown scenario 'best'"),
        ((*COST, "c2c-macro", "--shape", "1,6", "--set", "core.cores=3"), "no field 'core.cores'"),
        (
            ("sweep", "user_model.py:build", "--data", "user_data.py:load", "--vary", "adc.bits"),
            "is not of the form PATH=V1,V2",
        ),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(run, files, arguments, said):
    result = run(*arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
