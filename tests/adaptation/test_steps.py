"""What follows an optimizer step: clipping, remapping, decay of ranges, the schedule's clock."""

import math

import pytest
import torch
from torch import nn

import mho
from mho.adaptation import Clip

DTYPES = [torch.float32, torch.bfloat16]
LEARNING = mho.Hardware(
    array={"rows": 20}, dac={"bits": 8, "range": "learned"}, adc={"bits": 8, "bound": 10.0}
)
FREE = mho.Hardware(array={"rows": 20})
CLIPS = [
    {"kind": "fixed", "value": 0.7},
    {"kind": "layer", "sigma": 2.0},
    {"kind": "column", "sigma": 2.5},
    {"kind": "column", "sigma": 2.0},
]


def network(dtype=torch.float32, seed=0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 50, bias=False))
        model[2].weight.data.normal_()
        model[0].weight.data.normal_()
    return model.to(dtype)


def images(n=16, seed=3, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)


def ready(adaptation, hardware=FREE, dtype=torch.float32, make=torch.optim.SGD, **options):
    model = network(dtype)
    mho.convert(model, hardware)
    if hardware is LEARNING:
        mho.calibrate(model, [images(dtype=dtype)], method="moving_std", sigma=1.0)
    optimizer = make(model.parameters(), **{"lr": 0.01, **options})
    return model.train(), optimizer, mho.adapt(model, adaptation, optimizer)


def one_step(model, optimizer, x=None):
    optimizer.zero_grad()
    x = images(dtype=model[0].weight.dtype) if x is None else x
    model(x).float().square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_clipping_what_is_clipped_changes_nothing(clip, dtype):
    model, optimizer, _ = ready(mho.Adaptation(clip=clip), dtype=dtype, lr=0.0)
    first = {site.name: site.weight.detach().clone() for site in mho.sites(model)}
    changed = sum(
        int((first[n] != p).sum()) for n, p in network(dtype).named_parameters() if n in first
    )
    assert changed > 0, "the clip should have had something to do"
    for _ in range(3):
        one_step(model, optimizer)
    # The bound is found to 1e-4 of itself, where a sharper one would cost more passes.
    for site in mho.sites(model):
        off = (site.weight.detach() - first[site.name]).abs().max()
        assert off <= 4 * max(torch.finfo(dtype).eps, 1e-4) * first[site.name].abs().max()


@pytest.mark.parametrize("sigma", [2.0, 2.5])
def test_the_bound_is_sigma_standard_deviations_of_the_clipped_column(sigma):
    """Literally, column by column and slice by slice; and what lies inside is untouched."""
    model, _, _ = ready(mho.Adaptation(clip={"kind": "column", "sigma": sigma}))
    before, after = network()[2].weight.double(), model[2].weight.detach().double()
    for row, clipped in zip(before, after, strict=True):
        for part, limited in zip(row.split(16), clipped.split(16), strict=True):
            assert part.numel() == 16
            bound = sigma * float(limited.std())
            over = part.abs() > bound * (1 + 1e-3)
            assert torch.equal(limited[~over].float(), part[~over].float())
            if over.any():
                assert (limited[over].abs() / bound - 1).abs().max() < 1e-3
                assert torch.equal(limited[over].sign(), part[over].sign())


def test_columns_of_nearly_nothing_are_not_clipped_to_nothing():
    """One weight among zeros: the iteration has no bound but 0, and the weight must survive."""
    kind = Clip.select({"kind": "layer", "sigma": 2.5})
    weight = torch.zeros(1, 100)
    weight[0, 3] = 1.0
    bound = kind.bound(weight, None)
    assert float(bound) == pytest.approx(2.5 * float(weight.std()))
    assert kind.bound(torch.full((1, 10), 2.0), None) == math.inf


@pytest.mark.parametrize("by", ["layer", "column"])
def test_remapping_keeps_the_function(by):
    model, optimizer, _ = ready(mho.Adaptation(remap=by), lr=0.1)
    x = images()
    assert torch.allclose(model(x), network()(x), rtol=1e-4, atol=1e-4)
    one_step(model, optimizer)
    for site in mho.sites(model):
        largest = site.matrix.detach().abs().amax(1)
        assert float(largest.max()) == pytest.approx(1.0, abs=1e-6)
        if by == "column":
            assert (largest - 1).abs().max() < 1e-6
    function = model(x).detach()
    mho.restore(model)
    assert torch.allclose(model(x), function, rtol=1e-4, atol=1e-4)


def test_remapping_fills_a_fixed_scale():
    """With `scaling: fixed`, small weights use little of the conductances until remapped."""
    fixed = mho.Hardware(mapping={"kind": "differential", "scaling": "fixed", "w_max": 4.0})
    model, _, _ = ready(mho.Adaptation(remap="column"), fixed)
    for site in mho.sites(model):
        assert torch.allclose(site.matrix.abs().amax(1), torch.tensor(4.0))


def literal_decay(model, x, keep):
    """Share of the first layer's inputs that is inside the range, for each row-slice."""
    crossbar = next(mho.sites(model)).crossbar
    pieces = crossbar.geometry.inputs_of(x)
    shares = [
        float((p.abs() < r).float().mean())
        for p, r in zip(pieces, crossbar.input_range, strict=True)
    ]
    return torch.tensor([share > keep for share in shares])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("micro", [1, 4])
def test_ranges_decay_once_per_step(micro, dtype):
    """Gradient accumulation and a scaled loss change nothing about the decay."""
    decay = 0.5
    found = []
    for rule in ({"decay": decay, "keep": 0.2}, {"decay": decay, "keep": 0.999}, None):
        model, optimizer, _ = ready(mho.Adaptation(range_decay=rule), LEARNING, dtype)
        r = next(mho.sites(model)).crossbar.input_range
        before = r.detach().clone()
        x = images(dtype=dtype)
        for part in x.split(len(x) // micro):
            (model(part).float().sum() * 0).backward()  # no loss: the decay alone is left
        optimizer.step()
        found.append((before, r.detach().clone()))
    for (before, after), acts in zip(found, (True, False, False), strict=True):
        expected = before - 0.01 * decay * before if acts else before
        assert torch.allclose(after, expected, rtol=torch.finfo(dtype).eps)
    assert literal_decay(model, images(dtype=dtype), 0.2).all()
    assert not literal_decay(model, images(dtype=dtype), 0.999).any()


def test_the_decay_comes_after_unscaling():
    """A loss scale of 1024, undone before the step, as torch's GradScaler does."""
    ends = []
    for scale in (1.0, 1024.0):
        model, optimizer, _ = ready(
            mho.Adaptation(range_decay={"decay": 0.5, "keep": 0.2}), LEARNING
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(model(images()).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        ends.append(next(mho.sites(model)).crossbar.input_range.detach().clone())
    assert torch.allclose(*ends, rtol=1e-5)


def test_the_decay_is_inside_of_a_closure():
    """Where the optimizer calls the loss itself, decay joins its gradients, not older ones."""
    ends = []
    for in_closure in (False, True):
        model, optimizer, _ = ready(
            mho.Adaptation(range_decay={"decay": 0.5, "keep": 0.2}), LEARNING
        )

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = model(images()).square().mean()
            loss.backward()
            return loss

        for _ in range(3):
            if in_closure:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_ranges_stay_positive():
    """A step of Adam is larger than the range: it is halved instead."""
    model, optimizer, _ = ready(mho.Adaptation(), LEARNING, make=torch.optim.Adam, lr=100.0)
    ranges = [site.crossbar.input_range for site in mho.sites(model)]
    before = [r.detach().clone() for r in ranges]
    for r in ranges:
        r.grad = torch.ones_like(r)
    optimizer.step()
    assert all(torch.equal(r, b / 2) for r, b in zip(ranges, before, strict=True))


def test_a_learned_clip_has_the_gradient_of_what_it_clips():
    """d/db = sum over clipped weights of sign(w) dL/dw; the Parameter keeps what is clipped."""
    model, _, _ = ready(mho.Adaptation(clip={"kind": "learned", "sigma": 1.5}))
    site = list(mho.sites(model))[1]
    bound, weight = site.crossbar.clip_bound, site.weight
    assert bound.shape == (2, 50)
    assert torch.equal(weight, network()[2].weight)
    x = torch.randn(6, 32)
    g = torch.randn(6, 50)
    site.module(x).backward(g)
    of_weight = g.T @ x
    for k, rows in enumerate((slice(0, 16), slice(16, 32))):
        over = weight[:, rows].abs() > bound[k][:, None]
        assert over.any()
        expected = (of_weight[:, rows] * weight[:, rows].sign() * over).sum(1)
        assert torch.allclose(bound.grad[k], expected.detach(), rtol=1e-4, atol=1e-4)
        inside = ~over
        assert torch.allclose(weight.grad[:, rows][inside], of_weight[:, rows][inside], atol=1e-4)
        assert (weight.grad[:, rows][over] == 0).all()
    function = model(images()).detach()
    mho.restore(model)
    assert torch.allclose(model(images()), function, rtol=1e-4, atol=1e-4)


def test_frozen_weights_are_left_alone():
    model = network()
    mho.convert(model, FREE)
    model[0].weight.requires_grad_(False)
    before = model[0].weight.detach().clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    mho.adapt(model, mho.Adaptation(clip={"kind": "fixed", "value": 0.1}), optimizer)
    one_step(model.train(), optimizer)
    assert torch.equal(model[0].weight, before)
    assert model[2].weight.abs().max() <= 0.1


def test_the_clock_is_saved_with_the_optimizer():
    """A resumed training is the uninterrupted one, bit for bit."""
    adaptation = mho.Adaptation(
        noise=mho.AdditiveNoise(std=0.05), schedule={"kind": "ramp", "steps": 6},
        clip={"kind": "column", "sigma": 2.0}, range_decay={"keep": 0.2}, output_scale=True,
    )  # fmt: skip

    def start():
        return ready(adaptation, LEARNING, make=torch.optim.AdamW)

    def go_on(model, optimizer, steps):
        for step in steps:
            torch.manual_seed(step)
            one_step(model, optimizer)

    model, optimizer, _ = start()
    go_on(model, optimizer, range(6))
    half, half_optimizer, _ = start()
    go_on(half, half_optimizer, range(3))
    saved = half.state_dict(), half_optimizer.state_dict()
    resumed, resumed_optimizer, handle = start()
    resumed.load_state_dict(saved[0])
    resumed_optimizer.load_state_dict(saved[1])
    assert handle.step == 3
    go_on(resumed, resumed_optimizer, range(3, 6))
    for (name, a), (_, b) in zip(
        model.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_learned_scales_survive_a_checkpoint_and_fold_into_digital_weights(tmp_path):
    model, optimizer, _ = ready(mho.Adaptation(output_scale=True, clip="learned"), LEARNING, lr=0.5)
    one_step(model, optimizer)
    model.eval()
    x = images()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    again = network()
    mho.convert(again, LEARNING)
    again.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(again.eval()(x), model(x))
    digital = network()
    digital.load_state_dict(mho.digital_state_dict(model))
    mho.restore(model)
    assert torch.equal(digital(x), model(x))
    with pytest.raises(mho.MhoError, match="folded"):
        mho.digital_state_dict(again.state_dict())


def test_a_programmed_chip_holds_the_clipped_weights_and_scales_them():
    model, optimizer, _ = ready(
        mho.Adaptation(output_scale=True, clip={"kind": "learned", "sigma": 1.5}), lr=0.5
    )
    one_step(model, optimizer)
    x = images()
    targets = model.eval()(x).detach()
    mho.program(model, seed=1)
    assert torch.allclose(model(x), targets, rtol=1e-4, atol=1e-4)


def test_removal_takes_everything_off():
    model, optimizer, handle = ready(
        mho.Adaptation(noise=mho.AdditiveNoise(std=0.5), clip={"kind": "fixed", "value": 0.1})
    )
    handle.remove()
    x = images()
    assert torch.equal(model(x), model(x))
    with torch.no_grad():
        model[2].weight.mul_(100)
    one_step(model, optimizer)
    assert model[2].weight.abs().max() > 1
    assert "adaptation_step" not in optimizer.param_groups[0]
    mho.adapt(model, mho.Adaptation(), optimizer)
