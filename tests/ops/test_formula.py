"""Formulas: every word means the same in every backend, and what is no formula is refused."""

import numpy as np
import pytest
import torch

from mho.ops import twin
from mho.ops._words import (
    abs_,
    cos,
    exp,
    floor,
    log,
    lut,
    maximum,
    minimum,
    sqrt,
    where,
)

TABLE = np.array([0.5, -1.0, 2.0, 4.0], np.float32)
X = np.array([-2.5, -1.0, -0.25, 0.0, 0.3, 1.0, 2.7])


def every_word(x, y, table):
    """One of each."""
    smooth = exp(-abs_(x)) + log(abs_(x) + 1.0) * cos(y) - sqrt(abs_(y))
    steps = floor(x) + where(x > y, minimum(x, y), maximum(x, 0.5))
    return smooth, steps, lut(table, minimum(maximum(x + 1.0, 0.0), 3.0))


def uses_an_attribute(x):
    return x.clamp


def uses_a_global(x):
    return x + TABLE


def literal(x, y):
    """The same in plain Python."""
    import math

    smooth = math.exp(-abs(x)) + math.log(abs(x) + 1) * math.cos(y) - math.sqrt(abs(y))
    steps = math.floor(x) + (min(x, y) if x > y else max(x, 0.5))
    position = min(max(x + 1, 0), 3)
    left = min(int(position), 2)
    share = position - left
    return smooth, steps, float(TABLE[left]) * (1 - share) + float(TABLE[left + 1]) * share


def test_words_mean_the_same_everywhere():
    y = X[::-1] * 0.7
    expected = np.array([literal(*pair) for pair in zip(X, y, strict=True)]).T
    by_numpy = every_word(X, y, TABLE)
    by_torch = twin(every_word, "torch")(torch.from_numpy(X), torch.from_numpy(y), TABLE)
    compiled = twin(every_word, "numba")
    by_numba = np.array([compiled(*pair, TABLE) for pair in zip(X, y, strict=True)]).T
    np.testing.assert_allclose(np.stack(by_numpy), expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(torch.stack(by_torch).numpy(), expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(by_numba, expected, rtol=1e-14, atol=1e-15)


def test_single_precision_stays_single():
    """Constants of a formula must not widen the states of millions of cells."""
    x = torch.from_numpy(X).float()
    assert all(part.dtype == torch.float32 for part in twin(every_word, "torch")(x, x, TABLE))


def test_gradients_pass_through_tables():
    """Slopes between the nodes: the table's differences."""
    position = torch.tensor([0.25, 1.5, 2.75], dtype=torch.float64, requires_grad=True)

    def interpolate(table, at):
        return lut(table, at)

    twin(interpolate, "torch")(TABLE, position).sum().backward()
    assert position.grad is not None
    assert position.grad.tolist() == [-1.5, 3.0, 2.0]


def test_a_twin_is_made_once():
    for backend in ("torch", "numba"):
        assert twin(every_word, backend) is twin(every_word, backend)


def test_what_is_no_formula_is_refused():
    factor = 2.0

    def closes_over(x):
        return factor * x

    strange = {uses_an_attribute: "clamp", uses_a_global: "TABLE", closes_over: "factor"}
    for function, name in strange.items():
        with pytest.raises(ValueError, match=f"{name}.*only its arguments and the words"):
            twin(function, "torch")
