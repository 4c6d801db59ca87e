"""Tables of conductances over the weight, as points of a unit cube."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..mapping import Table

SMALLEST_SLOPE, FACTORS = 0.05, (0.1, 5.0)
"""Least share of the cell's range for the largest weight, and range of the significances."""


@dataclass(frozen=True)
class Cube:
    """Symmetric tables of pairs of devices, every one of which is invertible.

    At each of the weights m / (bins - 1), m = 0 .. bins - 1, pair p with the significance f_p has
    the difference d_p in [0, 1] and the common conductance b_p in [0, 1 - d_p],

        G-_p = b_p,   G+_p = b_p + d_p,   sum_p f_p d_p = k (sum_p f_p) w,

    and for negative weights G+ and G- change places. The coordinates, all in [0, 1]: k in [0.05, 1]
    linearly; f_p in [0.1, 5] relative to f_1 = 1, logarithmically; the position of each d_p in what
    the pairs before and after it leave open, the last one being determined; and b_p / (1 - d_p).
    Ranges of k and f are those of IBM's aihwkit, weight programming optimization.
    """

    pairs: int
    bins: int
    scaling: Literal["column", "tile"]

    @property
    def dimensions(self) -> int:
        """Coordinates: slope, significances, shares of the pairs, common conductances."""
        return 1 + (self.pairs - 1) * self.bins + self.pairs * self.bins

    def plain(self) -> NDArray[np.float64]:
        """Return the point of equal pairs that are filled one after another, without b."""
        point = np.zeros(self.dimensions)
        point[0] = 1.0
        low, high = (math.log(f) for f in FACTORS)
        point[1 : self.pairs] = -low / (high - low)
        point[self.pairs : self.pairs + (self.pairs - 1) * (self.bins - 1)] = 1.0
        return point

    def table(self, point: NDArray[np.float64]) -> Table:
        """Return the table of a point."""
        slope, factors, shares, common = self._parts(np.clip(point, 0.0, 1.0))
        differences = self._differences(slope * factors.sum(), factors, shares)
        minus = common * (1 - differences)
        plus = np.clip(minus + differences, 0.0, 1.0)
        devices, signed = [], []
        for f, up, down in zip(factors, plus, minus, strict=True):
            for sign, right, left in ((1.0, up, down), (-1.0, down, up)):
                devices.append(tuple(float(v) for v in (*left[:0:-1], *right)))
                signed.append(sign * float(f))
        # Both devices of a pair hold the same at w = 0, where the halves meet.
        w = [m / (self.bins - 1) for m in range(self.bins)]
        points = (*(-v for v in w[:0:-1]), *w)
        return Table(
            scaling=self.scaling, points=points, devices=tuple(devices), factors=tuple(signed)
        )

    def _parts(self, point: NDArray[np.float64]) -> tuple[float, NDArray, NDArray, NDArray]:
        pairs, bins = self.pairs, self.bins
        low, high = (math.log(f) for f in FACTORS)
        slope = SMALLEST_SLOPE + (1 - SMALLEST_SLOPE) * float(point[0])
        factors = np.concatenate(([1.0], np.exp(low + (high - low) * point[1:pairs])))
        end = pairs + (pairs - 1) * (bins - 1)
        shares = point[pairs:end].reshape(pairs - 1, bins - 1)
        return slope, factors, shares, point[end:].reshape(pairs, bins)

    def _differences(self, full: float, factors: NDArray, shares: NDArray) -> NDArray[np.float64]:
        """Differences (pairs, bins) whose weighted sum is `full` w; none at w = 0."""
        left = full * np.linspace(0.0, 1.0, self.bins)
        found = np.zeros((self.pairs, self.bins))
        for p in range(self.pairs):
            after = factors[p + 1 :].sum()
            low = np.clip((left - after) / factors[p], 0.0, 1.0)
            high = np.clip(left / factors[p], 0.0, 1.0)
            share = np.concatenate(([0.0], shares[p])) if p < self.pairs - 1 else 0.0
            found[p] = low + share * (high - low)
            left = left - factors[p] * found[p]
        return found
