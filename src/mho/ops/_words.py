"""The words of formulas, on NumPy: what a formula means where no backend has compiled it."""

import numpy as np

where, exp, log, sqrt, cos, abs_ = np.where, np.exp, np.log, np.sqrt, np.cos, np.abs
minimum, maximum, floor = np.minimum, np.maximum, np.floor


def lut(table: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Interpolate linearly in a table, at positions in [0, len(table) - 1]."""
    return np.interp(position, np.arange(len(table)), table)
