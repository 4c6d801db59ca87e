"""Whole models: attention, keys and values, recurrence, and what is digital."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho

from .chips import chip, seeded

BIG = {"core__count": 200, "memory__capacity": 10_000}


class Attention(nn.Module):
    """Attention over earlier keys and values, as a decoder has it."""

    def __init__(self, fused):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.fused = fused

    def forward(self, x, keys, values):
        keys, values = torch.cat((keys, self.k(x)), 1), torch.cat((values, self.v(x)), 1)
        query = self.q(x)
        if self.fused:
            query, keys, values = (t.unsqueeze(1) for t in (query, keys, values))
            return F.scaled_dot_product_attention(query, keys, values).squeeze(1)
        weights = (query @ keys.transpose(1, 2) * 8**-0.5).softmax(-1)
        return weights @ values


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("past", [3, 31])
def test_attention_counts_its_products_and_its_cache(fused, past):
    x, kept = torch.zeros(1, 1, 8), torch.zeros(1, past, 8)
    found = mho.cost(Attention(fused), chip(**BIG), (x, kept, kept), inputs=1)
    keys = past + 1
    assert found.cache == 2 * keys * 8  # one byte each
    digital = [node for node in found.graph if node.site is None]
    exact = 2 * keys * 8 + 2 * keys + (0 if fused else keys)  # products, softmax, scale
    assert sum(node.multiplications for node in digital) == exact
    assert len(found.graph.products) == 3
    # Only the new keys and values travel: the old ones are in the memory.
    links = found.components["links"] / (0.05e-12 * 8)
    assert links == pytest.approx(3 * 8 + 3 * 8)


def test_keys_and_values_beyond_the_memory_need_dram():
    x, kept = torch.zeros(1, 1, 8), torch.zeros(1, 999, 8)
    with pytest.raises(mho.MhoError, match=r"keys and values \(16,000 bytes\).*no.*`dram`"):
        mho.cost(Attention(True), chip(**BIG), (x, kept, kept))
    from .chips import constant

    dram = {
        "capacity": 10**9,
        "bandwidth": constant(40, "Gbit/s"),
        "idle": constant(0.1, "W"),
        "read": constant(5, "pJ/bit"),
        "write": constant(5, "pJ/bit"),
    }
    on = mho.override(chip(**BIG), {"dram": dram})
    found = mho.cost(Attention(True), on, (x, kept, kept), inputs=1)
    # All are read, and the new ones are written; what is beside the chip is not on it.
    assert found.components["dram"] == pytest.approx((16_000 + 16) * 8 * 5e-12)
    inputs, results = 3 * 8 * (0.1 + 0.2 + 0.1), 3 * 8 * (0.2 + 0.1)
    assert found.components["memory"] == pytest.approx((inputs + results + 8 * 0.2) * 8e-12)
    assert found.components["idle memory"] == pytest.approx(0.1 * found.latency)
    assert found.latency > 16_000 * 8 / 40e9
    with pytest.raises(mho.MhoError, match="do not fit the `dram` of 1,000 bytes"):
        mho.cost(Attention(True), mho.override(on, {"dram.capacity": 1000}), (x, kept, kept))


def test_a_transformer_layer_does_not_hide_its_work():
    layer = seeded(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    found = mho.cost(layer, chip(core__count=20), torch.zeros(1, 5, 8), inputs=1)
    assert found.graph.vectors == dict.fromkeys(
        (
            "self_attn.in_proj_weight",
            "self_attn.out_proj.weight",
            "linear1.weight",
            "linear2.weight",
        ),
        5,
    )
    names = [node.name for node in found.graph if node.site is None]
    assert sum("layer_norm" in name for name in names) == 2
    assert sum("attention" in name for name in names) == 1
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("make", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_steps_wait_for_each_other(make, gates):
    model, steps = seeded(lambda: make(8, 8)), 5
    found = mho.cost(model, chip(core__count=40), torch.zeros(steps, 1, 8), inputs=1)
    assert found.graph.vectors == {"weight_ih_l0": steps, "weight_hh_l0": steps}
    hidden = [node for node in found.graph.products if node.site == "weight_hh_l0"]
    assert [node.vectors for node in hidden] == [1] * steps
    assert found.latency > steps * 100e-9
    assert found.graph.operations == 2 * steps * 2 * gates * 8 * 8


def test_layers_that_stay_digital_read_their_weights():
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 6, bias=False)))
    found = mho.cost(model, chip(), torch.zeros(3, 8), inputs=1, where=mho.named("0"))
    (digital,) = [node for node in found.graph if node.weights]
    assert digital.weights == 48
    assert digital.multiplications == digital.additions == 3 * 48
    assert list(found.placement.by_site) == ["0.weight"]


def test_convolutions_count_patches_and_stream():
    model = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
    found = mho.cost(model, chip(), torch.zeros(2, 2, 8, 8), inputs=1)
    assert found.graph.vectors == {"weight": 2 * 16}
    two = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(),
                        nn.Conv2d(4, 4, 3, padding=1, bias=False))  # fmt: skip
    found = mho.cost(two, chip(core__count=5), torch.zeros(1, 2, 8, 8), inputs=1)
    first, second = (
        [s for s in found.schedule.spans if s.name == f"{k}.weight" and s.kind == "cores"]
        for k in (0, 2)
    )
    # The second begins after the rows that its kernel needs, long before the first ends.
    assert min(s.start for s in first) < min(s.start for s in second) < max(s.end for s in first)
    early = sum(s.end <= min(t.start for t in second) for s in first)
    assert early >= (1 / 16 + 1 / 8) * len(first)


def test_export_and_pages(tmp_path):
    import yaml

    found = mho.cost(nn.Linear(16, 8), mho.load("c2c-macro"), torch.zeros(4, 16))
    text = found.to_accelforge(tmp_path / "arch.yaml").read_text()

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor(
        "!", lambda loader, tag, node: {"tag": tag, **loader.construct_mapping(node, deep=True)}
    )
    nodes = {n["name"]: n for n in yaml.load(text, Loader)["arch"]["nodes"]}
    assert [n["tag"] for n in nodes.values()].count("Compute") == 1
    assert list(nodes)[-1] == "AnalogMultiply"
    energy = {name: n["actions"][0]["energy"] for name, n in nodes.items() if "actions" in n}
    peak = found.chip.peak()
    total = 64 * energy["RowDriver"] + 16 * energy["Converter"] + 1024 * energy["AnalogMultiply"]
    inside = sum(v for k, v in peak.energy.items() if k != "local digital")
    assert total == pytest.approx(inside)
    fanout = [n["spatial"][0]["fanout"] for n in nodes.values() if n["tag"] == "Container"]
    assert fanout == [1, 16, 64]
    area = {name: n.get("area", 0.0) for name, n in nodes.items()}
    cells = 1024 * area["Cell"]
    assert area["RowDriver"] + area["Converter"] + cells == pytest.approx(sum(peak.area.values()))
    with pytest.raises(mho.MhoError, match=r"must end in \.yaml"):
        found.to_accelforge(tmp_path / "arch.json")
    page = found.to_html(tmp_path / "cost.html").read_text()
    assert "<img" in page
    assert "Wang 2022" in page
    assert found.plot(tmp_path / "cost.png").stat().st_size > 20_000
    assert found.placement.plot(tmp_path / "floor.svg").stat().st_size > 5_000
    assert "three strongest constants" in found.table()
