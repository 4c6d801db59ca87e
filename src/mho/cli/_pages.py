"""Reports: pages that need no other file, to be sent to a colleague."""

import platform
from pathlib import Path
from typing import Any

import torch

import mho

from ._figures import as_image, lowest, timeline, weight_histograms
from ._story import HARDWARE, LABELS, WEIGHT_NOISE, Story

OFF = ("off", "0.0", "False")


def write_evaluation(
    path: Path,
    title: str,
    changes: list[str],
    hardware: mho.Hardware,
    receipt: mho.Receipt,
    result: mho.Evaluation,
) -> Path:
    """Write the report of one evaluation."""
    return _write(
        path,
        "evaluation.html",
        title=title,
        changes=changes,
        parts=hardware_parts(hardware),
        yaml=mho.to_yaml(hardware),
        receipt=receipt,
        result=result,
        rows=result.rows(),
        timeline=as_image(timeline({f"compensation: {result.compensation}": result}, "score")),
    )


def write_demo(path: Path, story: Story) -> Path:
    """Write the report of the demo."""
    results, chips = story.results, story.chips
    low = lowest(*(results[key] for key in ("direct", "longer", "tuned")))
    compensated = {k: v for k, v in story.labeled.items() if v.compensation != "none"}
    return _write(
        path,
        "demo.html",
        story=story,
        labels=LABELS,
        hardware_name=HARDWARE,
        weight_noise=WEIGHT_NOISE,
        rows=[
            dict(zip(results, row, strict=True))
            for row in zip(*(result.rows() for result in results.values()), strict=True)
        ],
        gained=_difference(results["tuned"], results["direct"]),
        layers=list(zip(*(found.layers for found in story.diagnoses.values()), strict=True)),
        timeline=as_image(timeline(story.labeled, "accuracy")),
        zoom=as_image(timeline(compensated, "accuracy", low)),
        diagnosis=as_image(story.diagnoses["direct"].plot()),
        histograms=as_image(weight_histograms({LABELS[key]: chips[key] for key in chips})),
        parts=hardware_parts(mho.load(HARDWARE)),
    )


def _difference(better: mho.Evaluation, worse: mho.Evaluation) -> mho.Evaluation:
    """Differences of chips with the same seed, whose intervals are those of paired values."""
    return mho.Evaluation(
        times=better.times,
        seeds=better.seeds,
        scores=better.scores - worse.scores,
        digital=better.digital - worse.digital,
        compensation=better.compensation,
    )


def hardware_parts(hardware: mho.Hardware) -> list[dict[str, Any]]:
    """Return, for each part of the hardware, what it is, what acts, and what is off."""
    parts: list[dict[str, Any]] = []
    for line in mho.explain_lines(hardware):
        if "." not in line.path:
            parts.append({"head": line, "acts": [], "off": []})
        else:
            parts[-1]["off" if line.value in OFF else "acts"].append(line)
    return parts


def percent(value: float, half_width: float | None = None) -> str:
    """Write a share as `96.8 %`, or `96.8 ± 0.4 %`; a single chip has no interval."""
    if half_width is None or half_width != half_width:
        return whole(f"{100 * value:.1f} %")
    return whole(f"{100 * value:.1f} ± {100 * half_width:.1f} %")


def whole(text: str) -> str:
    """Keep a number and its unit on one line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _write(path: Path, template: str, **values: Any) -> Path:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mho.cli"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "whole": whole}
    versions = (
        f"mho {mho.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    page = environment.get_template(template).render(versions=versions, **values)
    path.write_text(page, encoding="utf8")
    return path
