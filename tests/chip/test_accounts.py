"""Nothing is counted twice, and nothing is left out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho

from .chips import chip, constant

PICO, BIT, HOP = 1e-12, 1e-10, 1e-9


def split(**changes):
    """A chip on which partial sums are what takes longest: 8 of 16 bits, one after the other."""
    fast = {"core__timing__settle__value": 5, "core__local__lanes": 4}
    return chip(**(fast | {"core__count": 2} | changes))


@pytest.mark.parametrize("vectors", [1, 2, 40])
@pytest.mark.parametrize("chunks", [1, 5, 16])
def test_partial_sums_limit_the_rate(vectors, chunks):
    model = nn.Linear(20, 8, bias=False)
    found = mho.cost(model, split(), torch.zeros(vectors, 20), inputs=1, chunks=chunks)
    transfer, sums, local = 10 * 8 * BIT, 8 * 16 * BIT, 16 / 4 * 1e-9
    memory = vectors // min(chunks, vectors) * 20 * 8 / 1e12
    arrays = memory + transfer + HOP + 5e-9 + sums + HOP + local + (vectors - 1) * sums
    last = vectors / min(chunks, vectors) * 8 * 8
    assert found.latency == pytest.approx(arrays + last * (BIT + 1e-12) + HOP, rel=1e-6)


def test_partial_sums_occupy_links():
    model, vectors = nn.Linear(20, 8, bias=False), 40
    found = mho.cost(model, split(), torch.zeros(vectors, 20), inputs=3)
    bits = vectors * (20 * 8 + 8 * 16 + 8 * 8)
    assert found.schedule.busy["links"] == pytest.approx(3 * bits * BIT)
    assert found.components["links"] == pytest.approx(bits * 0.05 * PICO)
    narrow = mho.cost(model, split(links__channels=1), torch.zeros(vectors, 20), inputs=3)
    assert narrow.schedule.makespan >= 3 * bits * BIT


def test_partial_sums_of_one_core_take_no_link():
    one = split(core__count=1, core__arrays=2)
    found = mho.cost(nn.Linear(20, 8, bias=False), one, torch.zeros(3, 20), inputs=1)
    assert found.components["links"] == pytest.approx(3 * (20 + 8) * 8 * 0.05 * PICO)


def test_partial_sums_go_as_far_as_their_cores_are_apart():
    """160 rows on cores 0 to 9 of a 4 x 4 mesh; the sums go to core 0."""
    bus, mesh = (
        mho.cost(
            nn.Linear(160, 8, bias=False), split(core__count=16, links__topology=topology),
            torch.zeros(1, 160), inputs=1,
        )
        for topology in ("bus", "mesh")
    )  # fmt: skip
    far = [k // 4 + k % 4 for k in range(1, 10)]
    inputs = 16 * 8 * (sum(far) + 1)  # a core's own memory is one hop away
    sums = 8 * 16 * sum(far)
    assert mesh.components["links"] == pytest.approx((inputs + sums + 8 * 8) * 0.05 * PICO)
    assert bus.components["links"] == pytest.approx((1280 + 9 * 128 + 64) * 0.05 * PICO)


def test_blocks_of_one_core_share_its_local_unit():
    """Two arrays of a core, 16 columns each of which takes 2 ns of a unit with a single lane."""
    slow = {"core__timing__settle__value": 1, "core__local__clock__value": 0.5}
    vectors = 50
    found = mho.cost(
        nn.Linear(16, 16, bias=False), chip(core__count=1, core__arrays=2, **slow),
        torch.zeros(vectors, 16), inputs=1, chunks=1,
    )  # fmt: skip
    cores = [s for s in found.schedule.spans if s.kind == "cores"]
    assert sum(s.end - s.start for s in cores) == pytest.approx(vectors * 16 * 2e-9)


def test_copies_serve_one_input_each():
    model, x = nn.Linear(16, 8, bias=False), torch.zeros(1, 16)
    on = chip()
    one, two = (
        mho.cost(model, on, x, inputs=41, placement=mho.place(model, on, replicate={"weight": n}))
        for n in (1, 2)
    )
    assert one.throughput == pytest.approx(1 / 100e-9)
    assert two.throughput == pytest.approx(2 / 100e-9, rel=0.05)
    assert two.components == pytest.approx(one.components)


def test_channels_of_a_depthwise_kernel_go_to_their_own_array_only():
    model = nn.Conv2d(10, 10, 3, groups=10, padding=1, bias=False)
    found = mho.cost(model, chip(hardware__array__rows=32), torch.zeros(1, 10, 4, 4), inputs=1)
    # Each of 160 numbers: read, written at one core; patches of 90 read; results written.
    memory = 160 * (0.1 + 0.2) + 16 * 90 * 0.1 + 160 * 0.2
    assert found.components["memory"] == pytest.approx(8 * memory * PICO)
    assert found.components["links"] == pytest.approx(8 * (160 + 160) * 0.05 * PICO)
    assert sum(found.demand.works[0].streams) == pytest.approx(160 * 8)


def test_windows_that_overlap_compare_every_number_again():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.MaxPool2d(3, 2, 1))
    found = mho.cost(model, chip(), torch.zeros(1, 1, 8, 8), inputs=1)
    (pool,) = [node for node in found.graph if "pool" in node.name]
    assert pool.additions == 2 * 4 * 4 * 9


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Linear(8, 2, bias=False), nn.Linear(8, 6, bias=False)

    def forward(self, x):
        return torch.cat((self.narrow(x), self.wide(x)), -1).sigmoid()


def test_branches_bring_what_they_make():
    found = mho.cost(Branches(), chip(), torch.zeros(1, 8), inputs=1)
    (joined,) = [node for node in found.graph if "sigmoid" in node.name]
    assert [(edge.source, edge.elements) for edge in joined.edges] == [(0, 2), (1, 6)]
    assert found.components["links"] == pytest.approx((16 + 8) * 8 * 0.05 * PICO)


class Grouped(nn.Module):
    """Four queries share each key and value, which are repeated as Hugging Face models do it."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, n, bias=False) for n in (16, 4, 4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (-1, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        k, v = (t[:, :, None].expand(-1, -1, 4, -1, -1).reshape(q.shape) for t in (k, v))
        return F.scaled_dot_product_attention(q, k, v)


def test_repeated_keys_and_values_are_kept_once():
    found = mho.cost(Grouped(), chip(core__count=20), torch.zeros(1, 5, 8), inputs=1)
    assert found.cache == 2 * 5 * 4
    (attention,) = [node for node in found.graph if "attention" in node.name]
    assert [(e.source, e.elements) for e in attention.edges] == [(0, 80), (1, 20), (2, 20)]


class Buffered(nn.Module):
    """A decoder's keys in a buffer of fixed size, written in place."""

    def __init__(self):
        super().__init__()
        self.k, self.q = (nn.Linear(8, 8, bias=False) for _ in range(2))
        self.register_buffer("keys", torch.zeros(1, 6, 8))

    def forward(self, x):
        self.keys[:, 3:4] = self.k(x)
        return self.q(x) @ self.keys.transpose(1, 2)


def test_a_buffer_that_is_written_to_is_a_cache_and_no_weight():
    found = mho.cost(Buffered(), chip(), torch.zeros(1, 1, 8), inputs=1)
    (scores,) = [node for node in found.graph if "bmm" in node.name]
    assert (scores.weights, scores.cache) == (0, 48)
    assert {edge.source: edge.elements for edge in scores.edges} == {0: 8, 1: 8, None: 40}


def test_idle_memory_counts_among_the_sensitivities():
    dram = {
        "capacity": 10**6, "bandwidth": constant(40, "Gbit/s"), "idle": constant(1, "mW"),
        "read": constant(5, "pJ/bit"), "write": constant(5, "pJ/bit"),
    }  # fmt: skip
    on = mho.override(chip(), {"dram": dram})
    found = mho.cost(nn.Linear(16, 8, bias=False), on, torch.zeros(1, 16), inputs=1)
    by, share = {e.constant: e for e in found.elasticities}, found.components["idle memory"]
    share /= found.energy
    assert by["dram.idle"].energy == pytest.approx(share, rel=1e-3)
    settle = by["core.timing.settle"]
    assert settle.energy == pytest.approx(share * settle.latency, rel=1e-3)


def test_questions_that_do_not_fit_together_are_refused():
    model, on = nn.Linear(64, 32), chip(core__count=64)
    with pytest.raises(mho.MhoError, match="gives weight no input vector"):
        mho.cost(model, on, torch.zeros(0, 64))
    with pytest.raises(mho.MhoError, match="a tuple of 2, which the model's forward does not take"):
        mho.cost(model, on, (torch.zeros(1, 64), torch.zeros(1)))
    other = mho.place(nn.Linear(4, 4), on)
    with pytest.raises(mho.MhoError, match="of another model, which has other blocks of weight"):
        mho.cost(model, on, torch.zeros(1, 64), placement=other)
    mho.convert(model, on.hardware)
    with pytest.raises(mho.MhoError, match=r"`where` says which layers of a digital model"):
        mho.cost(model, on, torch.zeros(1, 64), where=mho.linear)
    with pytest.raises(mho.MhoError, match=r"`where` says which layers of a digital model"):
        mho.place(model, on, where=mho.linear)
