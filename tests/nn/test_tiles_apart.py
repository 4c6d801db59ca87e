"""A layer on several arrays: each has its own scale, range, converters, noise and gradient."""

import pytest
import torch
from torch import nn

import mho
from mho.nn import Crossbar
from mho.tiles import Dense

from .effects import hardware

ROWS, OUT = 17, 11
SLICES = (6, 6, 5)  # 17 rows on arrays of 7
COLUMNS = (4, 4, 3)  # 11 columns on arrays of 5
SLICE = torch.tensor([k for k, n in enumerate(SLICES) for _ in range(n)])
STORED = {"range": "calibrated"}


@pytest.fixture
def weight():
    return torch.randn(OUT, ROWS, generator=torch.Generator().manual_seed(7))


def layer(weight, ranges=None, **parts):
    """A linear layer without bias, and ranges for its row-slices."""
    module = nn.Linear(ROWS, OUT, bias=False)
    with torch.no_grad():
        module.weight.copy_(weight)
    mho.convert(module, hardware(**parts))
    geometry = module.analog["weight"].geometry
    assert (geometry.partition.rows, geometry.partition.columns) == (SLICES, COLUMNS)
    if ranges is not None:
        module.analog["weight"].input_range = torch.tensor(ranges)
    return module


def scales(weight):
    """max |w| of each column of each array, (row-slices, out)."""
    return torch.stack([piece.abs().amax(1) for piece in weight.split(list(SLICES), 1)])


def response(module):
    """What each weight multiplies a small input with, (out, rows)."""
    return module(torch.eye(ROWS)).detach().T


@pytest.mark.parametrize("sizes", [(None, None), (7, 5), (1, 1), (5, None), (None, 2)])
def test_splitting_changes_nothing(weight, sizes):
    """The same chip instance of ideal cells and converters, whatever the size of the arrays."""
    rows, cols = sizes
    x = torch.randn(50, ROWS, dtype=torch.float64)
    module = nn.Linear(ROWS, OUT).double()
    with torch.no_grad():
        module.weight.copy_(weight)
    expected = module(x)
    mho.convert(module, hardware(array={"rows": rows, "cols": cols}))
    assert (module(x) - expected).abs().max() < 1e-13 * expected.abs().max() * ROWS
    mho.program(module, seed=1)
    assert (module(x) - expected).abs().max() < 1e-6 * expected.abs().max()


def test_each_column_of_each_array_has_its_scale(weight):
    module = layer(weight)
    mho.program(module, seed=1)
    assert torch.equal(module.analog["weight"].scale, scales(weight))
    module = layer(weight, mapping={"kind": "differential", "scaling": "tile"})
    mho.program(module, seed=1)
    per_array = torch.cat(
        [s.amax(1, keepdim=True).expand_as(s) for s in scales(weight).split(list(COLUMNS), 1)], 1
    )
    assert torch.equal(module.analog["weight"].scale, per_array)


def test_an_adc_gain_belongs_to_a_column_of_an_array(weight):
    module = layer(weight, adc={"gain_spread": 0.1})
    mho.program(module, seed=1)
    gain = response(module) / weight
    columns = torch.stack([gain[:, k == SLICE].mean(1) for k in range(len(SLICES))])
    assert (gain - columns[SLICE].T).abs().max() < 1e-4  # one gain for the rows of an array
    assert len(columns.flatten().unique()) == 3 * OUT
    # 33 independent gains with std 0.1: the standard error of a std is 0.1 / sqrt(2 n).
    assert abs(columns.std() - 0.1) < 5 * 0.1 / (2 * columns.numel()) ** 0.5


def test_a_driver_belongs_to_a_row_of_an_array(weight):
    module = layer(weight, dac={"gain_spread": 0.1})
    mho.program(module, seed=1)
    pieces = (response(module) / weight).split(list(COLUMNS), 0)
    drivers = torch.stack([piece.mean(0) for piece in pieces])
    for piece, driver in zip(pieces, drivers, strict=True):
        assert (piece - driver).abs().max() < 1e-4  # one gain for the columns of an array
    assert len(drivers.flatten().unique()) == 3 * ROWS
    assert abs(drivers.std() - 0.1) < 5 * 0.1 / (2 * drivers.numel()) ** 0.5


def test_an_adc_offset_belongs_to_a_column_of_an_array(weight):
    """An offset is scaled by its array's input range: one range at a time shows one array."""
    shown = []
    for k in range(3):
        ranges = [1.0 if j == k else 1e-12 for j in range(3)]
        module = layer(weight, ranges, dac=STORED, adc={"offset_spread": 0.1})
        mho.program(module, seed=1)
        shown.append(module(torch.zeros(ROWS)).detach())
    offsets = torch.stack(shown) / scales(weight)
    assert len(offsets.flatten().unique()) == 3 * OUT
    n = offsets.numel()
    assert abs(offsets.std() - 0.1) < 5 * 0.1 / (2 * n) ** 0.5
    module = layer(weight, [1.0, 1.0, 1.0], dac=STORED, adc={"offset_spread": 0.1})
    mho.program(module, seed=1)
    total = module(torch.zeros(ROWS)).detach()
    assert (total - torch.stack(shown).sum(0)).abs().max() < 1e-6


def test_output_noise_is_that_of_all_arrays(weight):
    """Independent noise of each column of each array, in its units: var = sum (sigma r s)^2."""
    ranges, sigma, n = [1.0, 2.0, 4.0], 0.05, 20_000
    module = layer(weight, ranges, dac=STORED, noise={"output": sigma})
    torch.manual_seed(3)
    y = module(torch.zeros(n, ROWS)).detach()
    variance = (sigma * torch.tensor(ranges)[:, None] * scales(weight)).square().sum(0)
    z = y / variance.sqrt()
    assert (z.mean(0).abs() < 5 / n**0.5).all()
    assert ((z.square().mean(0) - 1).abs() < 5 * (2 / n) ** 0.5).all()
    others = (z.T @ z / n).fill_diagonal_(0)
    assert (others.abs() < 5 / n**0.5).all()


def test_an_adc_limits_each_array_by_itself(weight):
    """A sum over arrays passes the bound of one; each array's share does not."""
    bound, r = 0.5, 2.0
    module = layer(weight, dac={"range": {"kind": "fixed", "value": r}}, adc={"bound": bound})
    x = torch.rand(40, ROWS, generator=torch.Generator().manual_seed(2)) * 2 - 1
    shares = torch.stack(
        [
            a @ w.T
            for a, w in zip(x.split(list(SLICES), 1), weight.split(list(SLICES), 1), strict=True)
        ]
    )
    limit = (bound * r * scales(weight))[:, None]
    expected = shares.clamp(-limit, limit).sum(0)
    assert (shares.abs() > limit).any()
    assert (expected.abs() > limit.amax(0)).any()
    assert (module(x) - expected).abs().max() < 1e-5


def test_a_range_limits_the_inputs_of_its_array(weight):
    ranges = torch.tensor([0.5, 1.0, 2.0])
    module = layer(weight, ranges.tolist(), dac=STORED)
    x = torch.randn(40, ROWS, generator=torch.Generator().manual_seed(2), requires_grad=True)
    y = module(x)
    y.sum().backward()
    r = ranges[SLICE]
    limited = x.detach().clamp(-r, r)
    assert (y - limited @ weight.T).abs().max() < 1e-5
    inside = x.detach().abs() <= r
    assert (x.grad - inside * weight.sum(0)).abs().max() < 1e-5
    assert (module.weight.grad - limited.sum(0)).abs().max() < 1e-4


def test_a_range_per_token_is_one_per_array(weight):
    """Six bits of the largest input of each array, not of the whole vector."""
    module = layer(weight, dac={"range": "per_token", "bits": 6})
    x = torch.randn(40, ROWS, generator=torch.Generator().manual_seed(2))
    pieces = []
    for piece in x.split(list(SLICES), 1):
        r = piece.abs().amax(1, keepdim=True)
        pieces.append((piece / r * 31).round() / 31 * r)
    assert (module(x) - torch.cat(pieces, 1) @ weight.T).abs().max() < 1e-5


def test_a_learned_range_has_the_gradient_of_its_array(weight):
    """r (sum over clipped inputs of the gradient that asks for more), and nothing elsewhere."""
    module = layer(weight, dac={"range": "learned"})
    ranges = nn.Parameter(torch.tensor([0.5, 1.0, 8.0]))
    module.analog["weight"].input_range = ranges
    x = torch.randn(40, ROWS, generator=torch.Generator().manual_seed(2))
    module(x).sum().backward()
    g, r = weight.sum(0).expand(40, -1), ranges.detach()[SLICE]
    more = torch.where(x >= r, g.clamp(max=0), 0) - torch.where(x <= -r, g.clamp(min=0), 0)
    expected = torch.stack([more[:, k == SLICE].sum() for k in range(3)]) * ranges.detach()
    assert expected[2] == 0
    assert (ranges.grad - expected).abs().max() < 1e-4 * expected.abs().max()


def test_cells_keep_their_place_whatever_the_arrays(weight):
    """Programming errors belong to weights: another partition is the same chip."""
    shown = []
    for rows, cols in ((None, None), (7, 5), (4, 11)):
        module = nn.Linear(ROWS, OUT, bias=False)
        with torch.no_grad():
            module.weight.copy_(weight)
        description = hardware(
            array={"rows": rows, "cols": cols},
            cell="pcm-joshi-2020",
            mapping={"kind": "differential", "scaling": "fixed", "w_max": 8.0},
        )
        mho.convert(module, description)
        mho.program(module, seed=5)
        shown.append(response(module))
    assert (shown[0] - weight).abs().max() > 0.05
    assert (shown[0] - shown[1]).abs().max() < 1e-5
    assert (shown[0] - shown[2]).abs().max() < 1e-5


def test_a_crossbar_multiplies_exactly_on_request(weight):
    module = layer(weight, noise={"output": 1.0})
    crossbar = module.analog["weight"]
    assert isinstance(crossbar, Crossbar)
    assert isinstance(crossbar.geometry, Dense)
    x = torch.randn(4, ROWS)
    assert (crossbar.exact(x, module.weight) - x @ weight.T).abs().max() < 1e-5
