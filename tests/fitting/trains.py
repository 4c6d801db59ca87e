"""Synthetic pulse trains of published formulas, pulse by pulse in NumPy."""

import numpy as np

from oracles import devices as oracles


def pulses(run: int, repeats: int = 2) -> np.ndarray:
    """Runs up and down again, after a first reading."""
    return np.concatenate([[0], np.tile(np.repeat([1, -1], run), repeats)])


def train(pulse, cell, sent, rng, reading=0.0, start=0.0):
    """Readings (cells, n) of cells (arrays), each with noise of standard deviation `reading`."""
    w = np.full(np.shape(cell.s_up), start)
    values = [w]
    for p in sent[1:]:
        w = pulse(w, p > 0, cell, rng.standard_normal(w.shape))
        values.append(w)
    read = np.array(values).T
    return read + reading * rng.standard_normal(read.shape)


def soft(rng, sent, noise=0.3, reading=0.005, cells=1):
    """Trains of equal soft-bounds cells: low -0.8, high 1.2, steps 0.02 up and 0.015 down."""
    same = np.ones(cells)
    cell = oracles.Cell(-0.8 * same, 1.2 * same, 0.02 * same, 0.015 * same, 0, 0)
    return train(oracles.soft_bounds(noise), cell, sent, rng, reading)
