"""Scores over chips and times: the same table however it is made, and nothing else touched."""

import copy
import csv
import os

import joblib
import numpy as np
import pytest
import torch
from torch import nn

import mho
from chips import EVERY_SPREAD, PIXELS, assert_same, chip, cnn, converted
from mho.nn import sites

TIMES = ("1 s", "1 d", "1 y")
WANTED = cnn()(PIXELS).detach()


def likeness(model):
    """Minus the relative error of the outputs, with whatever noise there is."""
    with torch.no_grad():
        return -((model(PIXELS) - WANTED).norm() / WANTED.norm()).item()


def evaluate(model=None, score=likeness, times=TIMES, **options):
    return mho.evaluate(model or converted(), score, times=times, **{"instances": 3} | options)


def everything(model):
    """All that evaluate could change: chips, modes, state, gains."""
    modes = {name: torch.tensor(module.training) for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    programmed = all(site.crossbar.is_programmed for site in sites(model))
    return {**modes, **state, **(chip(model) if programmed else {})}


@pytest.fixture(scope="module")
def reference():
    return evaluate()


def test_the_table_is_the_same_for_any_number_of_workers(reference):
    assert np.array_equal(evaluate(workers=2).scores, reference.scores)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert np.array_equal(evaluate(workers=None).scores, reference.scores)
        processes = evaluate(score=lambda model: os.getpid(), workers=None)
    assert processes.digital == os.getpid()
    assert os.getpid() not in processes.scores


def test_the_table_is_the_same_for_any_order_of_times_and_calls(reference):
    torch.manual_seed(99)
    model = converted()
    mho.compensate(mho.at(mho.program(model, seed=50), "10 y"))
    backward = evaluate(model, times=TIMES[::-1])
    assert np.array_equal(backward.scores[:, ::-1], reference.scores)
    alone = evaluate(model, times=["1 d"], instances=1, seed=1)
    assert alone.scores[0, 0] == reference.scores[1, 1]


def test_seeds_and_times_make_the_chips_and_noises_differ(reference):
    assert len(np.unique(reference.scores)) == reference.scores.size
    other = evaluate(seed=1)
    assert np.array_equal(other.scores[:2], reference.scores[1:])
    assert other.digital == reference.digital


def test_global_random_numbers_go_on_as_if_nothing_had_happened():
    for kind in (torch, np.random):
        kind.manual_seed(3) if kind is torch else kind.seed(3)
    wanted = torch.rand(3), np.random.rand(3)
    torch.manual_seed(3)
    np.random.seed(3)
    evaluate(instances=1)
    assert torch.equal(torch.rand(3), wanted[0])
    assert np.array_equal(np.random.rand(3), wanted[1])


@pytest.mark.parametrize("stage", ["calibrated", "programmed", "compensated"])
@pytest.mark.parametrize("end", ["done", "fails"])
def test_the_model_is_left_as_it_was(stage, end):
    model = converted()
    if stage != "calibrated":
        mho.at(mho.program(model, seed=50), "30 d")
    if stage == "compensated":
        mho.compensate(model, "column")
    model.train()
    model[1].eval()  # modes are those of each module
    before = everything(model)
    calls = []

    def score(model):
        assert not any(module.training for module in model.modules())
        calls.append(model)
        if end == "fails" and len(calls) == 4:
            raise KeyError("of the user")
        return likeness(model)

    if end == "fails":
        with pytest.raises(KeyError, match="of the user"):
            evaluate(model, score)
    else:
        evaluate(model, score)
    assert all(each is model for each in calls)
    assert_same(everything(model), before)
    assert model.training


def test_scores_are_those_of_the_chips_made_by_hand():
    hardware = mho.Hardware(cell="pcm")  # nothing is random but the chip
    result = evaluate(converted(hardware, batches=()), compensation="column", seed=40)
    model = converted(hardware, batches=())
    for i, seed in enumerate((40, 41, 42)):
        mho.program(model, seed=seed)
        for k, time in enumerate(TIMES):
            mho.compensate(mho.at(model, time), "column")
            assert result.scores[i, k] == likeness(model)
    assert result.seeds == (40, 41, 42)
    assert result.times == (1.0, 86400.0, 31557600.0)


def test_the_digital_score_is_of_the_exact_model():
    assert evaluate(instances=1).digital == pytest.approx(0, abs=1e-6)
    assert likeness(converted()) < -0.02


def test_compensation_helps_and_time_harms():
    """Acceptance 6, with a standard PCM cell: differences far above their standard errors."""
    model = converted("standard-hwa-2023")
    scores = {c: evaluate(model, compensation=c, instances=8) for c in ("none", "global")}
    gained = scores["global"].scores[:, 1] - scores["none"].scores[:, 1]
    lost = scores["none"].scores[:, 0] - scores["none"].scores[:, 2]
    for difference in (gained, lost):
        assert difference.mean() > 5 * difference.std(ddof=1) / np.sqrt(8)


def test_affine_compensation_uses_the_batches():
    model = converted()
    results = {
        "affine": evaluate(model, compensation="affine", batches=iter([PIXELS]), times=["1 y"]),
        "none": evaluate(model, compensation="none", times=["1 y"]),
    }
    assert (results["affine"].scores > results["none"].scores).all()


def test_figures_of_the_table_are_those_of_their_definitions(tmp_path):
    scores = np.array([[0.90, 0.80], [0.92, 0.70], [0.88, 0.75]])
    result = mho.Evaluation((1.0, 3600.0), (4, 5, 6), scores, 0.95, "global", chance=0.1)
    assert result.mean == pytest.approx([0.9, 0.75])
    assert result.std == pytest.approx([0.02, 0.05])
    # t(0.975, 2) = 4.30265 (Student's table)
    assert result.half_width() == pytest.approx(4.30265 * np.array([0.02, 0.05]) / np.sqrt(3))
    assert result.normalized().mean(0) == pytest.approx([0.8 / 0.85, 0.65 / 0.85])
    assert not result.iso_accurate().any()
    rows = result.rows()
    assert [row["time"] for row in rows] == ["1 s", "1 h"]
    assert rows[1]["min"] == 0.7
    assert rows[1]["max"] == 0.8
    for text in ("0.9000", "0.7500", "94.1%", "1 h", "seeds 4 to 6", "digital 0.9500"):
        assert text in str(result)
    with result.to_csv(tmp_path / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["score"]) for line in lines] == scores.ravel().tolist()
    assert [int(line["seed"]) for line in lines] == [4, 4, 5, 5, 6, 6]
    page = result.to_html(tmp_path / "page.html").read_text(encoding="utf8")
    assert "data:image" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert result.plot(tmp_path / "plot.png").stat().st_size > 1000


def test_iso_accuracy_is_reached_above_99_percent():
    scores = np.array([[0.9395, 0.9410], [0.9395, 0.9412]])
    result = mho.Evaluation((1.0, 2.0), (0, 1), scores, 0.95, "none", chance=0.0)
    assert result.iso_accurate().tolist() == [False, True]
    assert mho.normalized_accuracy(0.1, 0.9, 0.1) == 0
    assert mho.normalized_accuracy(0.9, 0.9, 0.1) == 1


def test_a_single_chip_has_no_interval():
    result = evaluate(instances=1, times=["1 s"])
    assert np.isnan(result.std).all()
    assert np.isnan(result.half_width()).all()
    assert "nan" in result.table()


def with_text(model):
    return "high"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": []}, "at least one"),
        ({"times": ["1 d", 86400]}, "each once"),
        ({"times": ["-1 s"]}, "at least 0 s"),
        ({"times": ["1 m"]}, "not in s"),
        ({"instances": 0}, "whole number of at least 1, got 0"),
        ({"instances": 2.0}, "whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"compensation": "globl"}, "unknown compensation 'globl'"),
        ({"compensation": "affine"}, r"'affine', batches\) needs data"),
        ({"batches": [PIXELS]}, "takes no data; 'affine' and"),
        ({"compensation": "affine", "batches": PIXELS}, r"write \[x\]"),
        ({"score": lambda model: float("nan")}, "a finite number is needed"),
        ({"score": with_text}, "returned 'high'; a number is needed"),
    ],
)
def test_bad_arguments(options, message):
    model = converted()
    before = everything(model)
    with pytest.raises(mho.MhoError, match=message):
        evaluate(model, **options)
    assert_same(everything(model), before)


def test_models_that_are_not_ready():
    with pytest.raises(mho.MhoError, match=r"call mho\.convert"):
        evaluate(cnn())
    with pytest.raises(mho.MhoError, match=r"mho\.calibrate\(model, batches\) first"):
        evaluate(converted(EVERY_SPREAD, batches=()))
    with pytest.raises(mho.MhoError, match="needs `chance`"):
        evaluate(instances=1, times=["1 s"]).normalized()
    with pytest.raises(mho.MhoError, match="equals chance"):
        mho.normalized_accuracy(0.5, 0.1, 0.1)


def test_threads_are_refused_as_they_would_share_the_model():
    model = converted()
    before = everything(model)
    with (
        joblib.parallel_config(backend="threading", n_jobs=2),
        pytest.raises(mho.MhoError, match="backend of processes"),
    ):
        evaluate(model, workers=None)
    assert_same(everything(model), before)


def test_a_trained_model_is_scored_in_eval_mode_with_its_statistics():
    model = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)).train()
    x = torch.randn(50, 5)
    model(x)
    mho.convert(model, mho.Hardware(cell="pcm"))
    state = copy.deepcopy(model.state_dict())
    mho.evaluate(model, lambda m: m(x).mean().item(), times=[0], instances=2)
    assert_same(model.state_dict(), state)
