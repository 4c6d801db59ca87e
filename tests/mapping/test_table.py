"""Custom encodings: what is refused, and why."""

import pytest
import torch

from mho.errors import SpecError
from mho.mapping import Table

PAIR = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0))


def test_three_devices_between_their_points():
    """Two devices of factor 1 and 2 against one: linear in between, whatever each of them does."""
    table = Table(
        points=(-1.0, -0.5, 0.0, 1.0),
        devices=((0.0, 0.1, 0.4, 0.6), (0.0, 0.1, 0.1, 0.5), (1.0, 0.8, 0.6, 0.6)),
        factors=(1.0, 2.0, -1.0),
    )
    g = table.encode(torch.tensor([[-0.75, 0.5]]), 0.0, 1.0)
    torch.testing.assert_close(g[:, 0], torch.tensor([[0.05, 0.5], [0.05, 0.3], [0.9, 0.6]]))
    torch.testing.assert_close(table.decode(g, 0.0, 1.0)[0], torch.tensor([[-0.75, 0.5]]))


def refused(match, **fields):
    with pytest.raises(SpecError, match=match):
        Table(**{"devices": PAIR, **fields})


@pytest.mark.parametrize(
    "points",
    [(-1.0,), (1.0, 0.0, -1.0), (-1.0, 0.0, 0.0, 1.0), (-0.5, 0.0, 1.0), (-1.0, 0.0, 2.0), ()],
)
def test_points_must_ascend_over_the_whole_range(points):
    refused("points must ascend from -1 to 1", points=points)


def test_table_and_factors_must_fit():
    refused("one row per factor", devices=PAIR[:1])
    refused("one row per factor", devices=(), factors=())
    refused("one number per point", devices=((0.0, 1.0), (1.0, 0.0)))


def test_conductances_must_be_relative():
    refused(r"must lie in \[0, 1\]", devices=((0.0, 0.0, 1.1), PAIR[1]))
    refused(r"must lie in \[0, 1\]", devices=((0.0, -0.1, 1.0), PAIR[1]))


def test_currents_must_add_to_the_weight():
    """Not at every point, not at all, or the wrong way round."""
    bent = ((0.0, 0.0, 0.2, 1.0), (1.0, 0.0, 0.0, 0.0))
    refused("not invertible: the currents at w = 0.5", points=(-1.0, 0.0, 0.5, 1.0), devices=bent)
    refused("not invertible: the currents at w = 0 add", devices=((0.0, 0.1, 1.0), PAIR[1]))
    refused("does not grow", devices=(PAIR[0], PAIR[0]))
    refused("does not grow", devices=PAIR[::-1])


def test_a_table_of_the_differential_pair_is_it():
    w = torch.linspace(-1, 1, 21)[None]
    up, down = Table().encode(w, 1e-6, 25e-6)
    torch.testing.assert_close(up, 1e-6 + 24e-6 * w.clamp(min=0))
    torch.testing.assert_close(down, 1e-6 + 24e-6 * (-w).clamp(min=0))
    torch.testing.assert_close(Table().decode(torch.stack((up, down)), 1e-6, 25e-6)[0], w)


def test_any_factor_scales_out():
    """Conductances of half the range and unequal factors give the same weights."""
    table = Table(devices=((0.0, 0.0, 0.5), (0.25, 0.0, 0.0)), factors=(1.0, -2.0))
    w = torch.linspace(-1, 1, 21)[None]
    torch.testing.assert_close(table.decode(table.encode(w, 0.0, 25e-6), 0.0, 25e-6)[0], w)
