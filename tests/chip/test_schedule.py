"""Laws of the schedule and of the energy."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import mho

from .chips import Residual, chip, resnet9, seeded

# The test chip: 100 ns per product, 0.1 ns per bit, 1 ns per hop, 8 bits, lanes of 1 ns.
PRODUCT, BIT, HOP, LANE = 100e-9, 1e-10, 1e-9, 1e-9


def cost(model, example, inputs=1, **changes):
    return mho.cost(model, chip(**changes), example, inputs=inputs)


@pytest.mark.parametrize("vectors", [1, 2, 5, 64])
@pytest.mark.parametrize("chunks", [1, 3, 16])
def test_the_latency_of_one_layer_is_its_closed_form(vectors, chunks):
    model = nn.Linear(16, 8, bias=False)
    found = mho.cost(model, chip(core__count=1), torch.zeros(vectors, 16), inputs=1, chunks=chunks)
    begins = vectors // min(chunks, vectors)  # vectors of the first chunk
    memory = begins * 16 * 8 / 1e12
    transfer = 16 * 8 * BIT
    scales = 8 * LANE
    station = max(PRODUCT, scales)
    first = transfer + HOP + PRODUCT + scales
    arrays = memory + first + (vectors - 1) * max(transfer, station)
    # What is left is the output: its last chunk's transfer and way into the memory.
    last = vectors / min(chunks, vectors) * 8 * 8
    spans = [s for s in found.schedule.spans if s.name == "output"]
    assert min(s.start for s in spans) >= transfer
    end = max(s.end for s in found.schedule.spans if s.kind == "cores") + scales
    assert end == pytest.approx(arrays, rel=1e-9)
    assert found.latency == pytest.approx(arrays + last * (BIT + 1e-12) + HOP, rel=1e-6)


def test_a_slow_link_limits_the_rate_and_not_the_first_vector():
    model, vectors = nn.Linear(16, 8, bias=False), 32
    found = cost(model, torch.zeros(vectors, 16), core__count=1, links__bandwidth__value=0.5)
    (layer,) = found.layers()
    assert layer["vector_seconds"] == pytest.approx(16 * 8 / 0.5e9 + HOP + PRODUCT + 8 * LANE)
    ends = [s.end for s in found.schedule.spans if s.kind == "cores"]
    memory = vectors * 16 * 8 / 1e12
    expected = vectors * 16 * 8 / 0.5e9 + HOP + PRODUCT
    assert max(ends) == pytest.approx(expected + memory / 16, rel=1e-6)


def test_partial_sums_take_their_way_and_their_additions():
    one = cost(nn.Linear(16, 8, bias=False), torch.zeros(1, 16))
    two = cost(nn.Linear(32, 8, bias=False), torch.zeros(1, 32))
    (single,), (split,) = one.layers(), two.layers()
    extra = split["vector_seconds"] - single["vector_seconds"]
    # The second core sends 8 sums of 16 bits, which are added one after the other.
    assert extra == pytest.approx(8 * 16 * BIT + HOP + 8 * LANE)


def chain():
    return seeded(lambda: nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 8)))


def critical_path(found):
    """The longest way through the graph, from the demands of its nodes alone."""
    ends = {}
    for work in found.demand.works:
        node = work.node
        start = max((ends[e.source] for e in node.edges if e.source is not None), default=0.0)
        time = start + work.memory / 1e12
        if work.streams:
            time += max(work.streams) * BIT + HOP
        if work.copies:
            time += max(s.seconds for copy in work.copies for s in copy) + work.fill
        ends[node.index] = time + work.digital
    return max(ends.values())


@pytest.mark.parametrize("make", [chain, lambda: nn.LSTM(8, 8), lambda: nn.GRUCell(8, 8)])
def test_without_contention_a_schedule_is_the_critical_path(make):
    model = seeded(make)
    example = torch.zeros(1, 16) if isinstance(model, nn.Sequential) else torch.zeros(1, 8)
    if isinstance(model, nn.LSTM):
        example = torch.zeros(4, 1, 8)
    roomy = chip(links__channels=500, memory__ports=500, digital__count=500)
    found = mho.cost(model, roomy, example, inputs=1, chunks=1)
    vectors = {node.vectors for node in found.graph.products}
    if vectors == {1}:
        assert found.latency == pytest.approx(critical_path(found), rel=1e-9)
    else:  # the input products of the LSTM are a pipeline of their own
        assert found.latency >= critical_path(found) * (1 - 1e-9)


def small_network():
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            Residual(8),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * 16, 10),
        )
    )


IMAGE = torch.zeros(1, 1, 8, 8)


@pytest.mark.parametrize("inputs", [1, 6])
def test_no_resource_is_in_use_for_longer_than_there_is_time(inputs):
    found = cost(small_network(), IMAGE, inputs, core__count=64)
    schedule = found.schedule
    for kind, seconds in schedule.busy.items():
        assert 0 <= seconds <= schedule.capacity[kind] * schedule.makespan * (1 + 1e-12)
    # Products and digital work are the same for every schedule: vectors times time of each.
    arrays = sum(
        node.vectors * len([b for b in found.placement.by_site[node.site] if b.replica == 0])
        for node in found.graph.products
    )
    assert schedule.busy["cores"] >= inputs * arrays * PRODUCT * (1 - 1e-9)
    digital = sum(work.digital for work in found.demand.works)
    assert schedule.busy["digital"] == pytest.approx(inputs * digital)


def test_resources_of_capacity_one_are_used_by_one_at_a_time():
    found = cost(small_network(), IMAGE, 4, core__count=64, links__channels=1, memory__ports=1)
    for kind in ("links", "memory", "digital"):
        spans = sorted((s.start, s.end) for s in found.schedule.spans if s.kind == kind)
        assert len(spans) > 20
        for (_, end), (start, _) in pairwise(spans):
            assert start >= end - 1e-15


@pytest.mark.parametrize("inputs", [1, 4])
def test_more_cores_never_slow_a_chip_down(inputs):
    before = None
    for cores in (36, 72, 144):
        found = cost(small_network(), IMAGE, inputs, core__count=cores)
        if before is not None:
            assert found.latency <= before[0] * (1 + 1e-9)
            assert found.throughput >= before[1] * (1 - 1e-9)
        before = found.latency, found.throughput
    assert before is not None


def test_a_pipeline_is_as_fast_as_its_slowest_station():
    found = cost(chain(), torch.zeros(1, 16), 40)
    slowest = max(
        max((s.seconds for c in w.copies for s in c), default=w.digital) for w in found.demand.works
    )
    assert found.throughput == pytest.approx(1 / slowest, rel=0.02)
    assert found.totals.p95 > found.totals.p50 > found.latency


def test_inputs_that_come_apart_do_not_wait():
    alone = cost(chain(), torch.zeros(1, 16))
    apart = mho.cost(chain(), chip(), torch.zeros(1, 16), inputs=5, interval=10 * alone.latency)
    assert apart.schedule.latencies == pytest.approx([alone.latency] * 5)


def test_the_same_question_has_the_same_answer():
    first, second = (cost(small_network(), IMAGE, 3, core__count=40) for _ in range(2))
    assert (first.totals, first.layers()) == (second.totals, second.layers())
    assert first.schedule.spans == second.schedule.spans


def test_energy_adds_up_over_components_nodes_and_inputs():
    found = cost(small_network(), IMAGE, 3, core__count=40)
    assert found.energy == pytest.approx(sum(found.components.values()))
    assert found.energy == pytest.approx(sum(found.by_operation().values()))
    products = sum(layer["joules"] for layer in found.layers())
    rest = sum(sum(w.energy.values()) for w in found.demand.works if w.node.site is None)
    assert found.energy == pytest.approx(products + rest)
    assert found.power == pytest.approx(found.energy * found.throughput)
    one = cost(small_network(), IMAGE, 1, core__count=40)
    assert one.components == pytest.approx(found.components)


def test_the_energy_of_one_layer_is_its_closed_form():
    vectors = 7
    found = cost(nn.Linear(16, 8, bias=False), torch.zeros(vectors, 16))
    pico = 1e-12
    expected = {
        "drivers": vectors * 16 * 2 * pico,
        "cells": vectors * 16 * 8 * 0.1 * pico,
        "converters": vectors * 8 * 3 * pico,
        "other": vectors * 5 * pico,
        "local digital": vectors * 8 * 1.5 * pico,
        "links": vectors * (16 + 8) * 8 * 0.05 * pico,
        # Input: read, written at the core, read for the product; output: written.
        "memory": vectors * 8 * (16 * (0.1 + 0.2 + 0.1) + 8 * 0.2) * pico,
    }
    assert found.components == pytest.approx(expected)


def test_the_values_of_the_example_do_not_matter_and_nothing_is_left_behind():
    model = small_network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    zeros, noise = (
        cost(model, IMAGE, core__count=40),
        cost(model, torch.rand(1, 1, 8, 8), core__count=40),
    )
    assert (zeros.totals, zeros.schedule.spans) == (noise.totals, noise.schedule.spans)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert type(model[0]) is nn.Conv2d
    assert torch.backends.mkldnn.enabled


def test_a_converted_model_costs_the_same():
    model, on = small_network(), chip(core__count=40)
    digital = mho.cost(model, on, IMAGE)
    mho.convert(model, on.hardware)
    analog = mho.cost(model, on, IMAGE)
    assert (analog.totals, analog.layers()) == (digital.totals, digital.layers())
    six = mho.override(on, {"hardware.adc.bits": 6})
    with pytest.raises(mho.MhoError, match=r"other hardware than the chip's \(adc\.bits: 8 .*6"):
        mho.cost(model, six, IMAGE)


def test_the_meta_device_computes_nothing_and_gives_the_same():
    with torch.device("meta"):
        model = small_network()
    found = mho.cost(model, chip(core__count=40), IMAGE.to("meta"), inputs=2)
    real = mho.cost(small_network(), chip(core__count=40), IMAGE, inputs=2)
    assert (found.totals, found.layers()) == (real.totals, real.layers())


def test_the_bits_of_the_converter_move_the_energy():
    eight, six = (cost(chain(), torch.zeros(1, 16), hardware__adc__bits=bits) for bits in (8, 6))
    assert six.components["converters"] == pytest.approx(
        eight.components["converters"] * 0.224 / 0.362, rel=0.01
    )
    assert six.components["cells"] == pytest.approx(eight.components["cells"])


def test_the_bits_of_the_input_move_the_time_of_pulses():
    base = mho.load("hermes-64-core")
    times = {b: mho.override(base, {"hardware.dac.bits": b}).product_time() for b in (4, 8, 9)}
    # Fewer levels end when the counter of the converter is through: 256 counts of 300 ps.
    assert times[8] - 5.9e-9 == pytest.approx(127e-9)
    assert times[9] - 5.9e-9 == pytest.approx(255e-9)
    assert times[4] - 5.9e-9 == pytest.approx(256 * 300e-12)
    ten = mho.override(base, {"hardware.adc.bits": 10}).product_time()
    assert ten - 5.9e-9 == pytest.approx(1024 * 300e-12)


def test_bit_serial_inputs_take_a_read_and_a_conversion_for_each_slice():
    from .chips import constant, fields

    data = fields()
    data["hardware"]["dac"]["scheme"] = {"kind": "bit_serial", "slice_bits": 2}
    timing = {"kind": "bit_serial", "pulse": constant(10, "ns"), "conversion": constant(1, "ns")}
    data["core"] |= {"timing": timing}
    data["core"]["converters"]["count"] = 3
    serial = mho.Chip(**data)
    # 7 bits of magnitude in slices of 2; 8 columns on 3 converters.
    assert serial.product_time() == pytest.approx(4 * (10e-9 + 3 * 1e-9))
    assert serial.peak().energy["converters"] == pytest.approx(4 * 8 * 3e-12)


def test_elasticities_are_those_of_power_laws():
    found = cost(nn.Linear(16, 8, bias=False), torch.zeros(1, 16))
    by = {e.constant: e for e in found.elasticities}
    for name, component in {"core.cell": "cells", "core.row_energy": "drivers"}.items():
        share = found.components[component] / found.energy
        assert by[name].energy == pytest.approx(share, rel=1e-3)
        assert by[name].latency == 0
    share = PRODUCT / found.latency
    assert by["core.timing.settle"].latency == pytest.approx(share, rel=1e-3)
    assert sum(e.energy for e in found.elasticities) == pytest.approx(1.0, rel=1e-3)
    assert [e.strength for e in found.sensitive] == sorted(e.strength for e in by.values())[:-4:-1]


def test_scenarios_enclose_the_nominal():
    found = cost(small_network(), IMAGE, 3, core__count=40)
    best, middle, worst = (found.ranges[s] for s in ("optimistic", "nominal", "pessimistic"))
    assert best.energy == pytest.approx(middle.energy / 2, rel=1e-9)  # every factor is 2
    assert worst.energy == pytest.approx(middle.energy * 2, rel=1e-9)
    assert best.alone < middle.alone < worst.alone
    assert best.throughput > middle.throughput > worst.throughput


def test_activations_wait_until_the_last_of_their_users():
    found = cost(nn.Linear(16, 8, bias=False), torch.zeros(1, 16))
    assert found.peak_buffer == 8
    found = mho.cost(small_network(), chip(core__count=40), IMAGE, inputs=1, chunks=1)
    assert found.peak_buffer == 2 * 8 * 64  # the shortcut, and one side of the residual block


@pytest.mark.slow
def test_a_resnet_takes_seconds():
    import time

    model = resnet9()
    mho.cost(model, "hermes-64-core", torch.zeros(1, 3, 32, 32), inputs=1)
    start = time.process_time()
    mho.cost(model, "hermes-64-core", torch.zeros(1, 3, 32, 32), inputs=8)
    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"inputs": 0}, "inputs must be a whole number from 1 on, got 0"),
        ({"inputs": True}, "inputs must be"),
        ({"chunks": 2.5}, "chunks must be a whole number"),
        ({"interval": -1.0}, "interval must be a finite time of at least 0 s"),
        ({"interval": float("nan")}, "interval must be"),
        ({"scenario": "best"}, "unknown scenario 'best'"),
        ({"example": "x.png"}, "example must be a tensor"),
    ],
)
def test_bad_questions_are_refused(arguments, said):
    given = {"example": torch.zeros(1, 16)} | arguments
    with pytest.raises(mho.MhoError, match=said):
        mho.cost(nn.Linear(16, 8), chip(), **given)


def test_an_example_that_reaches_no_array_is_refused():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return x + 1

    with pytest.raises(mho.MhoError, match="reached no array"):
        mho.cost(Idle(), chip(), torch.zeros(1, 2))
