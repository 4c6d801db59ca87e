"""Hardware-aware training under compilation, checkpointing and autocast."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import mho

HARDWARE = mho.override(
    mho.load("standard-hwa-2023"), {"dac.range": "learned", "array.rows": 20, "array.cols": 16}
)
EVERYTHING = mho.Adaptation(
    noise=mho.ProgrammingNoise(scale=2.0),
    quantization={"kind": "uniform", "bits": 6},
    faults={"at_zero": 0.01},
    drop_connect=0.01,
    schedule={"kind": "ramp", "steps": 10, "start": 0.5},
    clip={"kind": "learned"},
    output_scale=True,
    range_decay={"decay": 0.01, "keep": 0.5},
)
SIMPLE = mho.Adaptation(
    noise=mho.AdditiveNoise(std=0.05), clip={"kind": "column", "sigma": 2.5},
    range_decay={"decay": 0.01, "keep": 0.5},
)  # fmt: skip
X = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.arange(16) % 4


class Net(nn.Module):
    def __init__(self, recompute: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(216, 24), nn.ReLU(), nn.Linear(24, 4))
        self.recompute = recompute

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        return checkpoint(self.head, x, use_reentrant=False) if self.recompute else self.head(x)


def start(adaptation, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Net(**options)
    mho.convert(model, HARDWARE)
    mho.calibrate(model, [X], method="moving_std", sigma=1.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return model.train(), optimizer, mho.adapt(model, adaptation, optimizer)


def trained(model, optimizer, call=None, steps=3, **autocast):
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(autocast)):
            loss = nn.functional.cross_entropy((model if call is None else call)(X).float(), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: p.detach().clone() for name, p in model.named_parameters()}


# torch's own tracing makes an object of every Function, which torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("adaptation", [EVERYTHING, SIMPLE], ids=["everything", "simple"])
def test_compiled_training_is_the_same_training(adaptation, monkeypatch):
    """One graph, captured once, although the strength of the noise changes with every step.

    Eager kernels draw other numbers from the same seed than torch's operators, which compilers
    trace: they are turned off.
    """
    monkeypatch.setattr("mho.ops._one_pass.SMALL", 10**9)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model, optimizer, _ = start(adaptation)
    eager = trained(model, optimizer)
    model, optimizer, handle = start(adaptation)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    losses, parameters = trained(model, optimizer, compiled)
    assert handle.step == 3
    assert torch.allclose(torch.tensor(losses), torch.tensor(eager[0]), rtol=1e-4)
    for name, value in parameters.items():
        assert torch.allclose(value, eager[1][name], rtol=1e-3, atol=1e-5), name
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("adaptation", [EVERYTHING, SIMPLE], ids=["everything", "simple"])
def test_recomputed_layers_draw_the_same_noise(adaptation):
    model, optimizer, _ = start(adaptation)
    plain = trained(model, optimizer)
    model, optimizer, _ = start(adaptation, recompute=True)
    again = trained(model, optimizer)
    assert plain[0] == again[0]
    for name, value in plain[1].items():
        assert torch.equal(value, again[1][name]), name


@pytest.mark.parametrize("adaptation", [EVERYTHING, SIMPLE], ids=["everything", "simple"])
def test_autocast_trains_nearly_the_same(adaptation):
    """Products in bfloat16 of 217 terms at most: the loss agrees to a few of its roundings."""
    model, optimizer, _ = start(adaptation)
    plain, _ = trained(model, optimizer)
    model, optimizer, _ = start(adaptation)
    mixed, parameters = trained(model, optimizer, mixed=True)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in parameters.values())
    assert max(abs(a - b) for a, b in zip(plain, mixed, strict=True)) < 16 * 2.0**-8
