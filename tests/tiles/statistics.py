"""Samples of a noisy product held against moments that are known or sampled elsewhere.

A sample of n vectors estimates a mean with the standard error sqrt(var/n), and a covariance with
that of the products of deviations, whose own spread the sample gives. Five standard errors are
allowed: 6e-7 of correct entries stray further.
"""

import numpy as np
import torch

from .bench import Bench

ERRORS = 5


def sample(bench: Bench, x: torch.Tensor, n: int, seed: int = 0) -> np.ndarray:
    """Outputs (n, outputs) of n copies of one input, drawn as one batch."""
    torch.manual_seed(seed)
    return bench.product(x.expand(n, *x.shape)).reshape(n, -1).numpy()


def covariance(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The covariance matrix of samples (n, outputs) and the standard errors of its entries."""
    d = y - y.mean(0)
    mean = d.T @ d / len(d)
    return mean, np.sqrt(np.maximum((d**2).T @ d**2 / len(d) - mean**2, 0) / len(d))


def check_moments(y: np.ndarray, mean: np.ndarray, cov: np.ndarray, floor: float) -> None:
    """Hold samples against their exact mean (outputs,) and covariance; floor is for rounding."""
    got, error = covariance(y)
    strays = np.abs(got - cov) - ERRORS * error
    assert (strays <= floor).all(), f"covariance is off:\n{got}\nexpected:\n{cov}"
    error = np.sqrt(np.diag(cov) / len(y))
    strays = np.abs(y.mean(0) - mean) - ERRORS * error
    assert (strays <= floor).all(), f"mean is off: {y.mean(0)}, expected {mean}"


def check_successive_vectors_are_independent(y: np.ndarray) -> None:
    """The covariance of vectors that follow each other in a batch is zero."""
    first, second = y[:-1] - y.mean(0), y[1:] - y.mean(0)
    products = first * second
    error = products.std(0) / np.sqrt(len(products))
    assert (np.abs(products.mean(0)) <= ERRORS * error).all()


def check_same_law(y: np.ndarray, other: np.ndarray, floor: float) -> None:
    """Hold samples against samples of the same law: means and covariances."""
    allowed = ERRORS * np.sqrt(y.var(0) / len(y) + other.var(0) / len(other))
    strays = np.abs(y.mean(0) - other.mean(0)) - allowed
    assert (strays <= floor).all(), f"means differ: {y.mean(0)} and {other.mean(0)}"
    (a, a_error), (b, b_error) = covariance(y), covariance(other)
    strays = np.abs(a - b) - ERRORS * np.hypot(a_error, b_error)
    assert (strays <= floor).all(), f"covariances differ:\n{a}\n{b}"
