"""Curves and tables: values, ends, files, and what is refused."""

import numpy as np
import pytest
import torch

from mho.cells import (
    ClippedLog,
    Composed,
    Constant,
    Gaussian,
    Piecewise,
    Polynomial,
    Power,
    PowerLaw,
    Table,
)
from mho.errors import SpecError
from mho.spec import to_dict

R = torch.tensor([0.0, 1e-9, 0.1, 0.25, 0.5, 1.0, 1.2])


@pytest.mark.parametrize(
    ("curve", "formula"),
    [
        (Constant(value=0.2), lambda r: 0.2 + 0 * r),
        (Polynomial(coefficients=(1.5,)), lambda r: 1.5 + 0 * r),
        (Polynomial(coefficients=(1, -2, 3), argument_scale=10), lambda r: 1 - 20 * r + 300 * r**2),
        (
            ClippedLog(slope=-0.1, intercept=0.3, low=0.31, high=0.9),
            lambda r: np.clip(-0.1 * np.log(np.maximum(r, 1e-7)) + 0.3, 0.31, 0.9),
        ),
        (
            Power(scale=0.02, exponent=0.5, cap=0.1),
            lambda r: np.minimum(0.02 / np.maximum(r**0.5, 1e-3), 0.1),
        ),
        (
            Piecewise(split=0.25, below=Constant(value=1), above=Polynomial(coefficients=(0, 4))),
            lambda r: np.where(r < 0.25, 1, 4 * r),
        ),
        (
            Table(points=(0, 10, 25), values=(3, 1, 4), argument_scale=25),
            lambda r: np.interp(r * 25, [0, 10, 25], [3, 1, 4]),
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_curve_is_its_formula(curve, formula, shape):
    value = curve(R.reshape(shape))
    assert value.shape == shape
    np.testing.assert_allclose(value.numpy().ravel(), formula(R.double().numpy()), rtol=1e-6)
    assert type(curve)(**to_dict(curve)) == curve


@pytest.fixture
def measured(tmp_path):
    file = tmp_path / "cell.csv"
    file.write_text("g_uS, nu_mean, nu_std\n0, 0.1, 0.04\n5, 0.08, 0.02\n20, 0.05, 0.01\n\n")
    return file


def test_table_from_a_file_is_self_contained(measured):
    table = Table(file=str(measured), column="nu_mean", argument_scale=20)
    measured.unlink()
    assert table.points == (0, 5, 20)
    assert table.values == (0.1, 0.08, 0.05)
    assert table == Table(points=(0, 5, 20), values=(0.1, 0.08, 0.05), argument_scale=20)
    assert Table(**to_dict(table)) == table


def test_columns_are_found_by_name(measured):
    swapped = measured.with_name("swapped.csv")
    swapped.write_text("nu_std,g_uS\n0.04,0\n0.01,20\n")
    table = Table(file=str(swapped), column="nu_std", argument="g_uS")
    assert table.points == (0, 20)
    assert table.values == (0.04, 0.01)


def test_measured_drift_has_the_measured_moments(measured):
    """nu = |mean + std xi| at a conductance between two measured ones."""
    from mho.ops import Stream

    law = PowerLaw(
        nu_mean={"kind": "table", "file": str(measured), "column": "nu_mean", "argument_scale": 20},
        nu_std={"kind": "table", "file": str(measured), "column": "nu_std", "argument_scale": 20},
    )
    cell, n = Composed(g_max=20e-6, drift=law), 1_000_000
    nu = cell.program(torch.full((n,), 12.5e-6), Stream(1, "table")).coefficient.double()
    mean, std = 0.065, 0.015  # half way between 5 and 20 uS; folding at 4.3 std shifts by < 1e-6
    assert abs(float(nu.mean()) - mean) < 5 * std / n**0.5
    assert abs(float(nu.std()) - std) < 5 * std / (2 * n) ** 0.5


def refuses(match, make):
    with pytest.raises(SpecError, match=match):
        make()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"points": (0, 1), "values": (1,)}, "values: Tuple should have at least 2 items"),
        ({"points": (0, 1, 2), "values": (1, 2)}, "3 points but 2 values"),
        ({"points": (0, 0), "values": (1, 2)}, "strictly ascending"),
        ({"points": (1, 0), "values": (1, 2)}, "strictly ascending"),
        ({"points": (1, 1 + 1e-12), "values": (1, 2)}, "strictly ascending"),
        ({"points": (0, 1), "values": (1, float("nan"))}, "finite number"),
        ({"file": "nowhere.csv", "column": "x"}, "cannot read the table nowhere.csv"),
        ({"file": "x.csv", "column": "x", "points": (0, 1)}, "not both"),
    ],
)
def test_bad_tables(fields, match):
    refuses(match, lambda: Table(**fields))


@pytest.mark.parametrize(
    ("text", "column", "match"),
    [
        ("g,nu\n0,1\n1,2\n", "mu", "no column 'mu'; its columns: g, nu"),
        ("g,nu\n0,1\n1,2\n", None, "no column None"),
        ("", "nu", "no column None; its columns: $"),
        ("g,nu\n0,1\n1,two\n", "nu", "column 'nu': could not convert string to float: 'two'"),
        ("g,nu\n0,1\n1\n", "nu", "column 'nu'"),
        ("g,nu\n0,1\n", "nu", "at least 2 items"),
    ],
)
def test_bad_files(tmp_path, text, column, match):
    file = tmp_path / "t.csv"
    file.write_text(text)
    refuses(match, lambda: Table(file=str(file), column=column))


def test_table_must_reach_over_the_range_of_the_cell():
    short = Table(points=(1, 20), values=(0.1, 0.05), argument_scale=25)
    law = PowerLaw(nu_mean=short, nu_std=Constant(value=0.01))
    refuses(
        "covers r = g/g_max from 0.04 to 0.8, the cell needs 0 to 1",
        lambda: Composed(g_max=25e-6, drift=law),
    )
    wide = Table(points=(1, 25), values=(0.1, 0.05), argument_scale=25)
    Composed(g_min=1e-6, g_max=25e-6, drift=PowerLaw(nu_mean=wide, nu_std=Constant(value=0.01)))


def test_piecewise_asks_each_branch_for_its_part():
    low = Table(points=(0, 0.3), values=(1, 2))
    high = Table(points=(0.3, 1), values=(2, 3))
    good = Piecewise(split=0.3, below=low, above=high)
    Composed(g_max=1e-6, programming=Gaussian(std=good))
    bad = Piecewise(split=0.5, below=low, above=high)
    refuses("covers r", lambda: Composed(g_max=1e-6, programming=Gaussian(std=bad)))


def test_negative_standard_deviations_are_refused():
    falling = Polynomial(coefficients=(1, -2))
    refuses(
        "programming|std is -1 at r=1",
        lambda: Composed(g_max=1e-6, programming=Gaussian(std=falling)),
    )


def test_infinite_curves_are_refused():
    steep = Polynomial(coefficients=(0, 1e38), argument_scale=1e30)
    refuses("not finite", lambda: Composed(g_max=1e-6, programming=Gaussian(std=steep)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Polynomial(coefficients=()), "at least 1 item"),
        (lambda: Polynomial(coefficients=(1,), argument_scale=0), "greater than 0"),
        (
            lambda: ClippedLog(slope=1, intercept=0, low=1, high=0),
            "low=1.0 must not exceed high=0.0",
        ),
        (lambda: Power(scale=-1, exponent=1, cap=1), "greater than or equal to 0"),
        (lambda: Piecewise(split=0, below="constant", above="constant"), "split: .*greater than 0"),
        (lambda: Constant(value=float("inf")), "finite number"),
        (lambda: Constant(), "value: Field required"),
        (lambda: Gaussian(std={"kind": "polynom"}), "did you mean 'polynomial'"),
    ],
)
def test_bad_curves(make, match):
    refuses(match, make)
