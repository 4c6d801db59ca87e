"""The partition over arrays: index arithmetic and its laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.errors import SpecError
from mho.mapping import Partition, split


@st.composite
def jobs(draw):
    step = draw(st.integers(1, 12))
    size = step * draw(st.integers(1, 300))
    return size, draw(st.integers(step, 4000)), draw(st.sampled_from(["balanced", "greedy"])), step


@given(jobs())
def test_laws(job):
    size, limit, rule, step = job
    sizes = split(size, limit, rule, step)
    assert sum(sizes) == size
    assert max(sizes) <= limit
    assert min(sizes) >= step
    assert all(n % step == 0 for n in sizes)
    assert len(sizes) == math.ceil(size / (limit // step * step)), "more arrays than needed"
    if rule == "balanced":
        assert max(sizes) - min(sizes) <= step
    else:
        assert all(n == limit // step * step for n in sizes[:-1])


@given(st.integers(1, 3000), st.integers(1, 50), st.integers(1, 40), st.integers(1, 40))
def test_utilization(rows, columns, array_rows, array_columns):
    partition = Partition(
        split(rows % 50 + 1, array_rows), split(columns, array_columns), array_rows, array_columns
    )
    cells = partition.arrays * array_rows * array_columns
    assert partition.utilization == pytest.approx((rows % 50 + 1) * columns / cells, rel=1e-12)
    assert 0 < partition.utilization <= 1


def test_by_hand():
    assert split(1000, 512) == (500, 500)
    assert split(1025, 512) == (342, 342, 341)
    assert split(1025, 512, "greedy") == (512, 512, 1)
    assert split(1025, None) == (1025,)
    assert split(90, 20, step=9) == (18, 18, 18, 18, 18)
    assert split(99, 30, "greedy", step=9) == (27, 27, 27, 18)


def test_no_limit_is_fully_used():
    assert Partition((7,), (3,), None, None).utilization == 1
    assert Partition((5,), (3,), 10, None).utilization == 0.5


@pytest.mark.parametrize(("size", "limit", "step"), [(0, 4, 1), (10, 4, 3), (-3, 4, 1), (6, 2, 3)])
def test_refuses(size, limit, step):
    for rule in ("balanced", "greedy"):
        with pytest.raises(SpecError):
            split(size, limit, rule, step)
