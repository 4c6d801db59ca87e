"""What all reproductions share: options, the cache of digital models, statistics, and reports."""

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "reproductions"
PAGE = ROOT / "docs" / "reproductions.md"


def options(description: str | None, **choices: list[str]) -> argparse.Namespace:
    """Parse the size of a reproduction: the documented one, `--quick`, or `--smoke`.

    `choices` are options that pick some of what the script can do; all of it is the default.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    name = {"action": "store_const", "dest": "size", "default": "full"}
    size.add_argument("--quick", const="quick", help="minutes: fewer runs, chips and data", **name)
    size.add_argument("--smoke", const="smoke", help="seconds: shows that it runs, no more", **name)
    for option, known in choices.items():
        parser.add_argument(f"--{option}", nargs="+", choices=known, default=known)
    return parser.parse_args()


def cached(key: str, model: nn.Module, train: Callable[[], None]) -> nn.Module:
    """Fill a model with the weights of an earlier run of `train`, or train it and keep them.

    Only digital models are kept, and nothing of them depends on mho.
    """
    path = CACHE / f"{key}.pt"
    if path.is_file():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        train()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    return model.eval()


@dataclass(frozen=True)
class Mean:
    """A mean over independent training runs, and its standard error."""

    value: float
    error: float
    runs: int

    @classmethod
    def of(cls, values: ArrayLike) -> "Mean":
        """Mean of the values (runs,); s.e. = std / sqrt(runs), nan for a single run."""
        v = np.asarray(values, float)
        spread = v.std(ddof=1) if len(v) > 1 else math.nan
        return cls(float(v.mean()), float(spread / math.sqrt(len(v))), len(v))

    def above(self, limit: float = 0.0, errors: float = 2.0) -> bool:
        """Whether the mean exceeds a limit by more than so many standard errors."""
        return self.value - limit > errors * self.error

    def percent(self) -> str:
        """`+1.23 ± 0.04 %`, the second number being the standard error."""
        return f"{100 * self.value:+.2f} ± {100 * self.error:.2f} %"

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.2g}"


@dataclass(frozen=True)
class Report:
    """One row of docs/reproductions.md.

    Attributes:
        key: the row's anchor.
        claim: what the paper says.
        ours: what this run found, with its uncertainty.
        verdict: "reproduced", "in part", "not seen", or another short answer.
        figure: a matplotlib figure, drawn under the row's heading.
    """

    key: str
    claim: str
    ours: str
    verdict: str
    figure: Any = None

    def publish(self, size: str) -> None:
        """Print the row and draw the figure; only a full run changes the documentation."""
        print(f"\nclaim    {self.claim}\nours     {self.ours}\nverdict  {self.verdict}")
        folder = PAGE.parent / "figures" if size == "full" else CACHE / size
        folder.mkdir(parents=True, exist_ok=True)
        if self.figure is not None:
            path = folder / f"{self.key}.png"
            self.figure.savefig(path, dpi=90)
            print(f"figure   {path.relative_to(ROOT)}")
        if size == "full":
            PAGE.write_text(self.in_table(PAGE.read_text("utf8")), "utf8")
            print(f"row      {PAGE.relative_to(ROOT)}")

    def in_table(self, page: str) -> str:
        """Return the page with this row's answers; the row is known by the link in its first cell.

        The claim on the page is longer and written by hand.
        """
        row = rf"^(\| \[[^\]]*\]\(#{re.escape(self.key)}\)[^|]*\|[^|]*\|)[^|]*\|[^|]*\|$"
        answers = f" {self.ours} | {self.verdict} |"
        page, count = re.subn(row, lambda m: m[1] + answers, page, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} rows for #{self.key}, not one")
        return page


def new_axes(
    columns: int = 1, *, width: float = 4.2, height: float = 3.1, **share: Any
) -> tuple[Any, list[Any]]:
    """Return a figure of no window and its axes, side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, columns, squeeze=False, **share)[0])
    for each in axes:
        each.grid(alpha=0.3)
    return figure, axes
