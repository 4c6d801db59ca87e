"""Folding of batch norm: the same function without the batch norm, or a clear refusal."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import mho
from mho.errors import ConversionError, LifecycleError
from mho.nn import L1BatchNorm, TopKBatchNorm


def lived(model, *shape, seed=0):
    """Give a model's batch norms statistics, gamma and beta that are not those of the start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.weight.normal_(generator=generator)  # some gains negative
                module.bias.normal_(generator=generator)
        model.train()
        for _ in range(2):
            model(2 * torch.randn(shape, generator=generator) + 1)
    return model.eval()


class Block(nn.Module):
    """A residual block, as in a ResNet."""

    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), norm(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, groups=2), norm(4)

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(x + y)


MODELS = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()), (32, 6)),
    "1d": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (8, 3, 9)),
    "residual": (Block, (8, 4, 6, 6)),
    "L1": (lambda: Block(L1BatchNorm), (8, 4, 6, 6)),
    "top k": (lambda: Block(TopKBatchNorm), (8, 4, 6, 6)),
    "not affine": (lambda: Block(lambda n: nn.BatchNorm2d(n, affine=False)), (8, 4, 6, 6)),
    "3d": (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)), (4, 2, 3, 3, 3)),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)),
        (4, 4, 5, 5),
    ),
    "transposed in groups": (
        lambda: nn.Sequential(nn.ConvTranspose1d(4, 6, 3, groups=2, bias=False), nn.BatchNorm1d(6)),
        (8, 4, 5),
    ),
}


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("analog", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_folded_model_computes_the_same(name, analog):
    make, shape = MODELS[name]
    model = lived(make(), *shape)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    wanted = model(x).detach()
    count = len(norms(model))
    if analog:
        mho.convert(model, mho.Hardware(array={"rows": 16, "cols": 3}))
    identities = {name: id(p) for name, p in model.named_parameters()}
    found = mho.fold_batch_norm(model)
    assert len(found.folded) == count
    assert not found.left
    assert not norms(model)
    assert model(x).detach().numpy() == pytest.approx(wanted.numpy(), rel=1e-5, abs=1e-5)
    kept = dict(model.named_parameters())
    assert all(id(kept[n]) == identities[n] for n in kept if n in identities)
    if analog:  # what the arrays hold is the folded weight
        mho.program(model, seed=0)
        assert model(x).detach().numpy() == pytest.approx(wanted.numpy(), rel=1e-4, abs=1e-4)


def test_a_calibrated_range_stays_valid_and_noise_is_that_of_folded_weights():
    model = lived(Block(), 8, 4, 6, 6)
    x = torch.randn(8, 4, 6, 6, generator=torch.Generator().manual_seed(5))
    mho.convert(model, "standard-hwa-2023")
    mho.calibrate(model, [x])
    ranges = {site.name: site.crossbar.input_range.clone() for site in mho.sites(model)}
    mho.fold_batch_norm(model)
    for site in mho.sites(model):
        assert torch.equal(site.crossbar.input_range, ranges[site.name])
    again = copy.deepcopy(model)
    mho.calibrate(again, [x])
    for site in mho.sites(again):
        assert site.crossbar.input_range.numpy() == pytest.approx(
            ranges[site.name].numpy(), rel=1e-4
        )


def test_pairs_by_name_where_the_forward_cannot_be_traced():
    class Choosing(Block):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    model = lived(Choosing(), 8, 4, 6, 6)
    x = torch.rand(2, 4, 6, 6)
    wanted = model(x).detach()
    with pytest.raises(ConversionError, match=r"pairs=\[\('conv1', 'bn1'\)"):
        mho.fold_batch_norm(model)
    found = mho.fold_batch_norm(model, pairs=[("conv1", "bn1")])
    assert found.folded == (("conv1", "bn1"),)
    assert found.left == {"bn2": "not named in `pairs`"}
    assert "folded into conv1" in str(found)
    assert model(x).detach().numpy() == pytest.approx(wanted.numpy(), abs=1e-5)


class Unclear(nn.Module):
    """Batch norms that must stay, each for a reason of its own, beside one that can go."""

    def __init__(self):
        super().__init__()
        self.first, self.clear = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.branched, self.of_branch = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.twice, self.of_twice = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.plain, self.without = nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)
        self.tied, self.of_tied = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.twin = nn.Linear(4, 4)
        self.twin.weight = self.tied.weight
        self.watched, self.of_watched = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.of_watched.register_forward_hook(lambda *_: None)
        self.parametrized = parametrizations.weight_norm(nn.Linear(4, 4))
        self.of_parametrized = nn.BatchNorm1d(4)
        self.activated = nn.BatchNorm1d(4)

    def forward(self, x):
        x = self.clear(self.first(x))
        y = self.branched(x)
        x = self.of_branch(y) + y
        x = self.of_twice(self.twice(self.twice(x)))
        x = self.without(self.plain(x))
        x = self.twin(self.of_tied(self.tied(x)))
        x = self.of_parametrized(self.parametrized(self.of_watched(self.watched(x))))
        return self.activated(torch.relu(x))


def test_unclear_cases_stay_and_say_why():
    model = lived(Unclear(), 32, 4)
    x = torch.randn(32, 4)
    wanted, before = model(x).detach(), copy.deepcopy(model.state_dict())
    found = mho.fold_batch_norm(model)
    assert found.folded == (("first", "clear"),)
    reasons = {
        "of_branch": "used once",
        "of_twice": "used once",
        "without": "no running statistics",
        "of_tied": "second name",
        "of_watched": "hooks",
        "of_parametrized": "re-parametrized",
        "activated": "does not directly follow",
    }
    assert found.left.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in found.left[name]
        assert reason in " ".join(str(found).replace("│", " ").split())
    assert model(x).detach().numpy() == pytest.approx(wanted.numpy(), abs=1e-5)
    rest = {n: v for n, v in before.items() if not n.startswith(("first", "clear"))}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in rest.items())


def two():
    layers = [("a", nn.Linear(4, 5)), ("bn", nn.BatchNorm1d(5)), ("b", nn.Linear(5, 3))]
    return lived(nn.Sequential(OrderedDict(layers)), 16, 4)


def programmed(model):
    mho.convert(model, mho.Hardware(cell="pcm"))
    mho.program(model, seed=0)


def calibrated(model):
    fixed = {"kind": "fixed", "value": 4.0}
    mho.convert(model, mho.Hardware(dac={"range": fixed}, adc={"bound": "calibrated", "bits": 8}))
    mho.calibrate(model, [torch.randn(8, 4)])


def behind_an_activation(model):
    model.a = nn.Sequential(model.a, nn.ReLU())


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [
        (lambda m: m.train(), {}, LifecycleError, r"call model\.eval\(\)"),
        (lambda m: m.bn.train(), {}, LifecycleError, "bn is in training mode"),
        (programmed, {}, LifecycleError, r"mho\.erase"),
        (calibrated, {}, ConversionError, "fold before"),
        (None, {"pairs": [("a", "b")]}, ConversionError, "Linear is not a batch norm"),
        (None, {"pairs": [("c", "bn")]}, ConversionError, "not in the model"),
        (None, {"pairs": [("b", "bn")]}, ConversionError, "has 5 channels, the layer 3"),
        (None, {"pairs": [("bn", "bn")]}, ConversionError, "neither a linear"),
        (None, {"pairs": [("a", "bn")] * 2}, ConversionError, "more than one pair"),
        (None, {"pairs": []}, ConversionError, "no batch norm can be folded"),
        (lambda m: m.pop(1), {}, ConversionError, "no batch norm to fold"),
        (behind_an_activation, {}, ConversionError, "does not directly follow"),
    ],
)
def test_refusals_change_nothing(spoil, options, error, message):
    model = two()
    if spoil:
        spoil(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        mho.fold_batch_norm(model, **options)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
