"""presets, explain, diff, schema, --version: what the command says about hardware."""

import json
import sys

import pytest
import yaml

import mho
from mho.cli import main


def test_every_preset_is_listed_with_its_arrays(run):
    result = run("presets")
    assert result.code == 0
    listed = result.out.replace("\n", "")
    for name in mho.presets():
        assert name in listed
    assert "512 x 512" in result.out


@pytest.mark.parametrize("full", [(), ("--full",)])
@pytest.mark.parametrize("name", mho.presets())
def test_a_shown_preset_is_a_file_that_loads_to_the_same_hardware(run, tmp_path, name, full):
    result = run("presets", "show", name, *full)
    assert result.code == 0
    file = tmp_path / "copy.yaml"
    file.write_text(result.out, encoding="utf8")
    assert mho.load(file) == mho.load(name)
    assert mho.document(file).source == mho.document(name).source != ""
    assert ("gain_spread" in result.out) >= bool(full)


def test_explain_says_every_number_with_its_unit(run):
    result = run("explain", "standard-hwa-2023")
    assert result.code == 0
    assert "25 uS" in result.out
    assert result.out.strip() == mho.explain(mho.load("standard-hwa-2023")).strip()


def test_explain_takes_changes_and_files(run, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(mho.to_yaml(mho.load("standard-hwa-2023")), encoding="utf8")
    result = run("explain", file, "--set", "adc.bits=6", "--set", "cell.g_max=30 uS")
    changed = mho.override(mho.load(file), ["adc.bits=6", "cell.g_max=30 uS"])
    assert result.out.strip() == mho.explain(changed).strip()
    assert "30 uS" in result.out


def test_diff_lists_what_differs_and_nothing_else(run, tmp_path):
    hardware = mho.load("standard-hwa-2023")
    file = tmp_path / "mine.yaml"
    file.write_text(mho.to_yaml(mho.override(hardware, {"adc.bits": 6, "array.wires": None})))
    result = run("diff", "standard-hwa-2023", file)
    assert result.code == 0
    assert "adc.bits" in result.out
    assert "array.wires" in result.out
    assert "dac.bits" not in result.out
    assert "same hardware" in run("diff", "ideal", "ideal").out


def test_the_schema_is_that_of_hardware(run):
    result = run("schema")
    schema = json.loads(result.out)
    assert schema == mho.json_schema(mho.Hardware)
    assert set(schema["properties"]) >= set(mho.Hardware.model_fields)


def test_version(run):
    assert run("--version").out == f"mho {mho.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("presets", "show", "standard-hwa"), "did you mean 'standard-hwa-2023'"),
        (("explain", "nowhere.yaml"), "no such file: nowhere.yaml"),
        (("explain", "ideal", "--set", "adc.bots=6"), "did you mean 'bits'"),
        (("explain", "ideal", "--set", "adc.bits"), "path=value"),
        (("explain", "standard-hwa-2023", "--set", "cell.g_max=25 V"), "is not in S"),
        (("diff", "ideal", "idel"), "did you mean 'ideal'"),
        (("mvm-error", "--hardware", "idel"), "did you mean 'ideal'"),
        (("mvm-error", "--times", "1 s,-3 s"), "at least 0 s"),
        (("mvm-error", "--inputs", "binary"), "uniform, gaussian, positive"),
        (("mvm-error", "--plot", "no/such/folder/x.png"), "there is no folder"),
        (("presets", "shwo"), "No such command"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(run, arguments, said):
    result = run(*arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_corrupt_file_is_named(run, tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("schema: 1\ncell: [unclosed")
    result = run("explain", file)
    assert result.code == 2
    assert "cannot read" in result.err
    file.write_text(yaml.safe_dump({"schema": 1, "cel": "pcm"}))
    assert "did you mean 'cell'" in run("explain", file).err


def test_the_installed_command_is_main(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mho", "explain", "nothing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no preset 'nothing'" in capsys.readouterr().err


def test_mvm_error_prints_what_the_library_measures_and_draws_it(run, tmp_path):
    small = {
        "out": 16,
        "rows": 24,
        "vectors": 8,
        "times": ["1 s", "1 d"],
        "instances": 2,
        "seed": 5,
    }
    options = [f"--{name}={value}" for name, value in small.items() if name != "times"]
    plot = tmp_path / "error.png"
    result = run("mvm-error", *options, "--times", "1s,1d", "--set", "adc.bits=6", "--plot", plot)
    assert result.code == 0
    hardware = mho.override(mho.load("standard-hwa-2023"), {"adc.bits": 6})
    assert mho.mvm_error(hardware, **small).table() in result.out
    assert plot.read_bytes().startswith(b"\x89PNG")
