"""Where weights go, and what does not fit."""

import pytest
import torch
from torch import nn

import mho

from .chips import chip, seeded


def wide(rows=40, cols=20):
    return nn.Linear(rows, cols, bias=False)


def test_blocks_are_those_of_the_tiles():
    model = wide()
    receipt = mho.convert(wide(), chip().hardware)
    found = mho.place(model, chip())
    (row,) = found.rows()
    assert row["blocks"] == receipt.arrays == 9
    # Balanced slices: 14 + 13 + 13 rows, 7 + 7 + 6 columns.
    assert {b.rows for b in found.blocks} == {14, 13}
    assert {b.cols for b in found.blocks} == {7, 6}
    assert found.weights == 800
    assert found.utilization == pytest.approx(800 / (9 * 128))
    assert found.occupation == pytest.approx(800 / (16 * 128))
    assert type(model) is nn.Linear


def test_bit_slices_take_arrays_of_their_own():
    on = chip(hardware__mapping={"kind": "bit_sliced", "bits": 8, "slice_bits": 4})
    found = mho.place(nn.Linear(16, 8, bias=False), on)
    assert {b.slice for b in found.blocks} == {0, 1}
    assert found.arrays == 2


def test_a_model_larger_than_the_chip_is_refused_with_both_numbers():
    with pytest.raises(mho.MhoError, match=r"need 9 cores .* the chip has 8 .*\n?.*core\.count"):
        mho.place(wide(), chip(core__count=8))
    with pytest.raises(mho.MhoError, match="does not fit"):
        mho.cost(wide(), chip(core__count=8), torch.zeros(1, 40))


def test_what_does_not_fit_is_reported_on_demand():
    found = mho.place(wide(), chip(core__count=8), strict=False)
    assert not found.fits
    assert len(found.missing) == 1
    assert found.needed == 9
    assert "1 blocks do not fit" in found.table()
    assert "weight (left out)" in found.table()
    with pytest.raises(mho.MhoError, match="the placement leaves out 1 blocks"):
        mho.cost(wide(), chip(core__count=8), torch.zeros(1, 40), placement=found)


def small_ones(count=6):
    return seeded(lambda: nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(count))))


def test_small_blocks_share_an_array_only_if_they_must():
    assert mho.place(small_ones(), chip()).arrays == 6
    packed = mho.place(small_ones(), chip(core__count=1))
    assert packed.arrays == 1
    assert packed.utilization == pytest.approx(6 * 16 / 128)
    with pytest.raises(mho.MhoError, match=r"not packed; try pack='auto'"):
        mho.place(small_ones(), chip(core__count=1), pack=False)


def overlap(a, b):
    rows = a.row < b.row + b.rows and b.row < a.row + a.rows
    return rows and a.col < b.col + b.cols and b.col < a.col + a.cols


def test_packed_blocks_lie_within_their_array_and_do_not_overlap():
    generator = torch.Generator().manual_seed(1)
    sizes = torch.randint(1, 9, (40, 2), generator=generator).tolist()
    model = nn.ModuleList(nn.Linear(2 * a, b, bias=False) for a, b in sizes)
    found = mho.place(model, chip(core__count=24), pack=True)
    assert len(found.blocks) == 40
    for block in found.blocks:
        assert block.row + block.rows <= 16
        assert block.col + block.cols <= 8
    for k, a in enumerate(found.blocks):
        for b in found.blocks[:k]:
            assert (a.core, a.array) != (b.core, b.array) or not overlap(a, b)
    used = sum(b.rows * b.cols for b in found.blocks)
    assert found.arrays <= 1.7 * used / 128 + 2


def test_blocks_of_one_core_take_turns():
    apart = mho.cost(small_ones(2), chip(), torch.zeros(1, 4), inputs=8)
    together = mho.cost(small_ones(2), chip(core__count=1), torch.zeros(1, 4), inputs=8)
    assert together.throughput < 0.6 * apart.throughput
    # Arrays of one core take turns as well.
    stacked = mho.cost(small_ones(2), chip(core__count=1, core__arrays=2), torch.zeros(1, 4))
    assert stacked.placement.arrays == 2
    assert stacked.throughput == pytest.approx(together.throughput)


def test_cores_that_are_left_get_copies_of_what_takes_longest():
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 8),
        )
    )
    image = torch.zeros(1, 1, 8, 8)
    found = mho.place(model, chip(), image)
    assert found.replicas("0.weight") == 15
    assert found.replicas("3.weight") == 1
    single = mho.place(model, chip(), image, replicate=False)
    assert single.cores == 2
    fast = mho.cost(model, chip(), image, placement=found)
    slow = mho.cost(model, chip(), image, placement=single)
    assert fast.throughput > 8 * slow.throughput
    assert fast.energy == pytest.approx(slow.energy)
    two = mho.place(model, chip(), replicate={"0.weight": 2})
    assert two.replicas("0.weight") == 2


def test_depthwise_kernels_share_arrays_along_the_diagonal():
    model = nn.Conv2d(10, 10, 3, groups=10, padding=1, bias=False)
    found = mho.place(model, chip(hardware__array__rows=32))
    # Nine rows and one column each: three kernels on 32 rows.
    assert [(b.rows, b.cols, b.cells) for b in found.blocks] == [(27, 3, 27)] * 3 + [(9, 1, 9)]
    assert mho.cost(model, chip(hardware__array__rows=32), torch.zeros(1, 10, 4, 4)).energy > 0


def test_shared_weights_are_placed_once():
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    found = mho.cost(model, chip(), torch.zeros(1, 8))
    assert len(found.placement.by_site) == 1
    assert found.graph.vectors == {"0.weight": 2}


@pytest.mark.parametrize(
    ("replicate", "said"),
    [({"1.weight": 2}, "no matrix '1.weight' to replicate"), ({"weight": 0}, "from 1 on, got 0")],
)
def test_impossible_copies_are_refused(replicate, said):
    with pytest.raises(mho.MhoError, match=said):
        mho.place(nn.Linear(4, 4), chip(), replicate=replicate)


def test_a_placement_belongs_to_its_chip():
    found = mho.place(nn.Linear(4, 4), chip())
    with pytest.raises(mho.MhoError, match="the placement is of another chip"):
        mho.cost(nn.Linear(4, 4), chip(core__count=3), torch.zeros(1, 4), placement=found)


def test_a_mesh_is_farther_than_a_bus():
    model, x = small_ones(9), torch.zeros(1, 4)
    bus = mho.cost(model, chip(), x, inputs=1)
    mesh = mho.cost(model, chip(links__topology="mesh"), x, inputs=1)
    assert mesh.components["links"] > 1.2 * bus.components["links"]
    assert mesh.latency > bus.latency
    assert mesh.components["cells"] == bus.components["cells"]
