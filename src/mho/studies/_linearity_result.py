"""What is known of converters once their thresholds are: gain, offset, DNL, INL."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..deploy import new_figure, save
from ..spec import render_table

MISSING = 0.1
"""A code narrower than this share of a step counts as missing."""


@dataclass(frozen=True)
class Linearity:
    """Thresholds of converters; prints as a table, plots itself.

    A line T_k = b + w (k - 1/2) through the thresholds is the converter's own ruler: its gain is
    1 / w, its offset -b / w, and in its own steps of w,

        DNL_k = (T_{k+1} - T_k) / w - 1,   INL_k = (T_k - b) / w - (k - 1/2)

    after IEEE Std 1241-2010, with INL at thresholds.

    Attributes:
        codes: k, the code above each threshold.
        thresholds: T_k in ideal steps, (converters, codes).
        fit: the line goes through the first and last threshold, or is that of least squares.
    """

    codes: np.ndarray
    thresholds: np.ndarray
    fit: Literal["end_points", "least_squares"] = "end_points"

    @cached_property
    def _line(self) -> tuple[np.ndarray, np.ndarray]:
        """The line's b and w, (converters, 1)."""
        k, t = self.codes - 0.5, self.thresholds
        if self.fit == "end_points":
            w = (t[:, -1] - t[:, 0]) / (k[-1] - k[0])
            return (t[:, 0] - w * k[0])[:, None], w[:, None]
        w, b = np.polyfit(k, t.T, 1)
        return b[:, None], w[:, None]

    @property
    def gain(self) -> np.ndarray:
        """Codes for each ideal step of the signal, (converters,)."""
        return 1 / self._line[1][:, 0]

    @property
    def offset(self) -> np.ndarray:
        """Code that a signal of zero has on the line, (converters,)."""
        b, w = self._line
        return -(b / w)[:, 0]

    @property
    def dnl(self) -> np.ndarray:
        """Width of each inner code in own steps, less 1, (converters, codes - 1)."""
        return np.diff(self.thresholds, axis=1) / self._line[1] - 1

    @property
    def inl(self) -> np.ndarray:
        """Deviation of each threshold from the line, in own steps, (converters, codes)."""
        b, w = self._line
        return (self.thresholds - b) / w - (self.codes - 0.5)

    @property
    def missing(self) -> np.ndarray:
        """Number of inner codes that are narrower than a tenth of a step, (converters,)."""
        return (self.dnl < MISSING - 1).sum(1)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping for each converter."""
        return [
            {"converter": c, "gain": g, "offset": o, "dnl": d, "inl": i, "missing": int(m)}
            for c, (g, o, d, i, m) in enumerate(
                zip(
                    self.gain,
                    self.offset,
                    np.abs(self.dnl).max(1),
                    np.abs(self.inl).max(1),
                    self.missing,
                    strict=True,
                )
            )
        ]

    def table(self) -> str:
        """Return gain, offset and the largest errors of each converter as text."""
        header = ("converter", "gain", "offset", "max |DNL|", "max |INL|", "missing codes")
        body = [
            (
                str(row["converter"]),
                f"{row['gain']:.4f}",
                *(f"{row[key]:+.2f}" for key in ("offset",)),
                *(f"{row[key]:.2f}" for key in ("dnl", "inl")),
                str(row["missing"]),
            )
            for row in self.rows()
        ]
        return render_table(f"linearity in steps, {self.fit.replace('_', ' ')}", header, body)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw DNL and INL over the code, a line for each converter; return the figure or save."""
        figure = new_figure(7.0, 4.6)
        upper, lower = figure.subplots(2, 1, sharex=True)
        faint = min(1.0, 4 / len(self.thresholds) + 0.15)
        for c, (dnl, inl) in enumerate(zip(self.dnl, self.inl, strict=True)):
            style = {"color": f"C{c % 10}", "alpha": faint, "linewidth": 1}
            upper.step(self.codes[:-1], dnl, where="mid", **style)
            lower.plot(self.codes - 0.5, inl, **style)
        for axes, name in ((upper, "DNL, steps"), (lower, "INL, steps")):
            axes.axhline(0, color="0.3", linewidth=0.8)
            axes.set_ylabel(name)
            axes.grid(alpha=0.3)
        lower.set_xlabel("code")
        return figure if path is None else save(figure, path)
