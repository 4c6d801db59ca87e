"""The examples: digital scores are the measured ones, and chips age and recover sensibly.

Each test runs the example's own `main`, as a person would. The g2p example runs always, since
`make test` installs its data, and so does the foundation model, on a text of its own; the others
run where `make data` has installed theirs.
"""

import gzip
import importlib
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mho

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import _data  # found in the folder just named

Run = tuple[float, dict[str, mho.Evaluation]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run an example's `main`; return its digital score and its results by compensation."""

    def main(name: str, *arguments: str) -> Run:
        evaluate, results = mho.evaluate, {}

        def record(*args: Any, compensation: str, **options: Any) -> mho.Evaluation:
            results[compensation] = evaluate(*args, compensation=compensation, **options)
            return results[compensation]

        monkeypatch.setattr(mho, "evaluate", record)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        importlib.import_module(name).main()
        printed = capsys.readouterr().out
        assert all(result.table() in printed for result in results.values())
        found = re.search(r"^digital .* ([\d.]+)$", printed, re.MULTILINE)
        assert found is not None
        return float(found[1]), results

    return main


# ---- g2p: always ---------------------------------------------------------------------------------


def test_g2p_digital_word_accuracy_is_the_measured_one() -> None:
    g2p = importlib.import_module("g2p_gru")
    dictionary = g2p.load_dictionary()
    words = g2p.sample(dictionary, 2000)
    accuracy = g2p.word_accuracy(g2p.load_model(), words, g2p.letter_ids(words), dictionary)
    assert accuracy == pytest.approx(0.686, abs=0.005)


def test_g2p_chips_age_and_compensation_recovers(run: Any) -> None:
    words, chips = 200, 2
    digital, results = run(
        "g2p_gru", "--words", str(words), "--instances", str(chips), "--times", "1 s", "1 y"
    )
    (fresh, aged), (_, recovered) = results["none"].mean, results["global"].mean
    assert results["none"].digital == results["global"].digital == pytest.approx(digital, abs=5e-5)

    def margin(p: float, q: float) -> float:
        """5 standard errors of a difference of two word accuracies, binomial in the words.

        The chips read the same words, so their number is left out; that both accuracies are of the
        same words makes the true error smaller.
        """
        return 5 * math.sqrt((p * (1 - p) + q * (1 - q)) / words)

    assert fresh - aged > margin(fresh, aged)
    assert recovered - aged > margin(recovered, aged)
    assert recovered < fresh + margin(fresh, recovered)
    assert abs(digital - fresh) < margin(digital, fresh)


# ---- the others: where their data is installed --------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "digital", "chips"),
    [("rnet_faces", 1.0, 2), ("silero_vad", 0.9984, 2), ("minilm_lee", 0.6564, 1)],
)
def test_pretrained(run: Any, name: str, digital: float, chips: int) -> None:
    """Digital, the measured score; every chip loses in a year, and less if compensated."""
    try:
        found, results = run(name, "--instances", str(chips), "--times", "1 s", "1 y")
    except _data.DataMissing as missing:
        pytest.skip(str(missing))
    assert found == pytest.approx(digital, abs=5e-4)
    fresh, aged = results["none"].scores.T
    assert (fresh > aged).all()
    assert (results["global"].scores[:, 1] > aged).all()


@pytest.mark.slow
def test_fashion_mnist(run: Any) -> None:
    arguments = ("--images", "6000", "--epochs", "1", "--instances", "2", "--times", "1 s", "1 y")
    try:
        digital, results = run("fashion_mnist_cnn", *arguments)
    except _data.DataMissing as missing:
        pytest.skip(str(missing))
    assert digital > 0.5  # 10 classes: guessing scores 0.1, with a standard error of 0.003
    fresh, aged = results["none"].scores.T
    assert (fresh > aged).all()
    assert (results["global"].scores[:, 1] > aged).all()


@pytest.mark.slow
def test_minilm_adapters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The adapter that saw other texts helps on a chip of 10 years; swaps and base are exact.

    The example itself asserts the latter two, and says so.
    """
    evaluate, results = mho.evaluate, []

    def record(*args: Any, **options: Any) -> mho.Evaluation:
        results.append(evaluate(*args, **options))
        return results[-1]

    monkeypatch.setattr(mho, "evaluate", record)
    short = ("--steps=8", "--batch=8", "--tokens=32", "--longest=32", "--instances=1")
    drift = ("--times", "1 s", "10 y", f"--plot={tmp_path / 'drift.png'}")
    monkeypatch.setattr(sys, "argv", ["minilm_adapters", *short, *drift])
    try:
        importlib.import_module("minilm_adapters").main()
    except _data.DataMissing as missing:
        pytest.skip(str(missing))
    printed = capsys.readouterr().out
    lee, adapted_lee, polarity, _, adapted_polarity = results
    assert lee.digital == pytest.approx(0.6092, abs=5e-4)  # of texts cut at 32 tokens
    assert polarity.digital == pytest.approx(41 / 60)
    assert lee.scores[0, 1] < lee.scores[0, 0] < lee.digital
    assert adapted_lee.scores[0, 1] > lee.scores[0, 1]
    assert adapted_polarity.scores.shape == (1, 2)
    shares = re.findall(r"weights to train, ([\d.]+)% of the base", printed)
    assert len(shares) == 2
    assert all(float(share) < 10 for share in shares)
    assert printed.count("to the last bit") == 2
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


# ---- the analog foundation model: always, in small and on another text --------------------------


PANGRAM = "The quick brown fox jumps over the lazy dog, 1234567890 times.\n"
TINY = {
    "length": 8, "teacher-steps": 4, "sequences": 8, "per-shard": 4, "batch": 4, "steps": 4,
    "every": 2, "held-out": 4, "instances": 2,
}  # fmt: skip


@pytest.fixture
def foundation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the example in a folder; return its progress, and its table with what follows."""
    monkeypatch.setattr(importlib.import_module("_language_model"), "news", lambda: PANGRAM * 20)

    def main(folder: Path, *arguments: str) -> tuple[str, str]:
        name, tiny = "analog_foundation_model", [f"--{key}={value}" for key, value in TINY.items()]
        monkeypatch.setattr(sys, "argv", [name, f"--folder={folder}", *tiny, *arguments])
        importlib.import_module(name).main()
        progress, _, table = capsys.readouterr().out.partition("held-out text")
        return progress, table

    return main


def foundation_files(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor that a run has kept."""
    student = torch.load(folder / "student.pt", weights_only=True)
    found = {f"student {k}": v for k, v in student["model"].items()}
    for i, moments in student["optimizer"]["state"].items():
        found |= {f"optimizer {i} {k}": v for k, v in moments.items()}
    for file in sorted(folder.glob("*.safetensors")):
        found |= {f"{file.name} {k}": v for k, v in load_file(file).items()}
    return found


def test_foundation_model_ends_the_same_after_interruptions(
    foundation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run but the last dies while it writes its third file, 7 in all: settings; teacher,
    twice; data, twice; student, twice.
    """
    _, table = foundation(tmp_path / "whole")
    replace, budget, deaths = os.replace, [2], 0

    def dies(*paths: Any) -> None:
        if not budget[0]:
            raise KeyboardInterrupt
        budget[0] -= 1
        replace(*paths)

    monkeypatch.setattr(os, "replace", dies)
    while True:
        try:
            _, again = foundation(tmp_path / "pieces")
            break
        except KeyboardInterrupt:
            budget[0], deaths = 2, deaths + 1
    assert deaths == 3  # two files for each of three runs, and the seventh by the last
    assert again == table
    whole, pieces = (foundation_files(tmp_path / name) for name in ("whole", "pieces"))
    assert whole.keys() == pieces.keys()
    assert all(torch.equal(whole[key], pieces[key]) for key in whole)


def test_foundation_model_again_and_with_other_settings(foundation: Any, tmp_path: Path) -> None:
    _, table = foundation(tmp_path)
    progress, again = foundation(tmp_path, "--instances", "3")
    assert "step" not in progress  # nothing is trained again
    assert again.splitlines()[:2] == table.splitlines()[:2]  # but there are other chips
    resume = importlib.import_module("_resume")
    with pytest.raises(resume.OtherSettings, match=r"other settings \(noise = 0.03, now 0.02\)"):
        foundation(tmp_path, "--noise", "0.02")


def test_foundation_model_of_4_bits(foundation: Any, tmp_path: Path) -> None:
    """The file, loaded into a fresh model on the same hardware, has the loss of the table."""
    _, table = foundation(tmp_path)
    models = importlib.import_module("_language_model")
    task = models.characters(8)
    mho.convert(task.teacher, "afm-training-2025", where=task.where)
    mho.load_quantized(task.teacher, tmp_path / "student-4bit.safetensors")
    loss = models.cross_entropy(task.teacher.eval(), task.held_out[:4])
    assert re.search(rf"^student, 4 bits +{loss:.4f} ", table, re.MULTILINE)


def test_foundation_model_ablation(foundation: Any, tmp_path: Path) -> None:
    _, table = foundation(tmp_path, "--ablation")
    verdicts = re.findall(r"^(student.*): perplexity .* on chips it loses", table, re.MULTILINE)
    assert verdicts == [
        "student", "student, clip only", "student, noise only", "student, neither",
    ]  # fmt: skip


# ---- finding data --------------------------------------------------------------------------------


def test_an_absent_package_says_what_to_do() -> None:
    with pytest.raises(
        _data.DataMissing, match="no-such-package is not installed: run `make data`"
    ):
        _data.package_file("no-such-package", "data.npz", "00")


def test_an_absent_file_says_what_to_do() -> None:
    with pytest.raises(_data.DataMissing, match=r"absent\.npz does not exist: run `make data`"):
        _data.package_file("g2p-en", "g2p_en/absent.npz", "00")


def test_absent_fashion_mnist_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    with pytest.raises(_data.DataMissing, match=f"x is not in {tmp_path}: run `make data`"):
        _data.fashion_mnist_file("x", "00")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")  # SHA-256 of "abc": ba7816bf... (FIPS 180-4, example B.1)
    assert _data.check(path, "ba7816bf") == path
    with pytest.raises(_data.DataChanged, match="begins with ba7816bf, expected 00000000"):
        _data.check(path, "00000000")


def test_idx(tmp_path: Path) -> None:
    path = tmp_path / "x-idx3-ubyte.gz"
    sizes = b"\0\0\0\2" + b"\0\0\0\1" + b"\0\0\0\3"
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + sizes + bytes([1, 2, 3, 4, 5, 255])))
    assert np.array_equal(_data.read_idx(path), [[[1, 2, 3]], [[4, 5, 255]]])
