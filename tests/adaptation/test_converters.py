"""Training with the converters of a chip, or of another chip for every draw."""

import pytest
import torch
from torch import nn

import mho
from mho.errors import SpecError
from mho.nn import sites
from mho.tiles import Columns

HARDWARE = mho.Hardware(
    array={"rows": 16, "cols": 6},
    dac={"range": {"kind": "fixed", "value": 1.0}},
    adc={
        "bits": 5,
        "bound": 3.0,
        "gain_spread": 0.1,
        "offset_spread": 0.05,
        "transfer": {"kind": "polynomial", "cubic": -0.2, "cubic_spread": 0.03},
        "converter": {"kind": "sar", "unit_spread": 0.05},
        "columns_per_converter": 2,
    },
)


def adapted(which, hardware=HARDWARE, per="batch"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 4))
    mho.convert(model, hardware)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hooks = mho.adapt(model, mho.Adaptation(converters=which, per=per), optimizer)
    return model.train(), optimizer, hooks


X = torch.rand(30, 20, generator=torch.Generator().manual_seed(1))


def test_a_specific_training_meets_the_converters_of_that_chip():
    """Bit for bit those that programming makes, and the same in every step."""
    model, optimizer, hooks = adapted(7)
    y = model(X)
    assert torch.equal(y, model(X))
    y.square().sum().backward()
    optimizer.step()
    trained = model(X)
    hooks.remove()
    mho.program(model, seed=7)
    assert torch.equal(model(X), trained)
    mho.program(model, seed=8)
    assert not torch.equal(model(X), trained)


def test_a_population_meets_another_chip_in_every_batch():
    model, _, _ = adapted("population")
    seen: list[Columns] = []
    for site in sites(model):
        disturbed = site.crossbar.modifier.disturbed
        break

    def spy(operand, weight, crossbar):
        found = disturbed(operand, weight, crossbar)
        seen.append(found.columns)
        return found

    site.crossbar.modifier.disturbed = spy
    for _ in range(200):
        model(X)
    first = [columns for columns in seen if columns.gain.shape[1] == 9]
    gains = torch.stack([columns.gain for columns in first])  # (200, row-slices, columns)
    assert len(gains) == 200
    # Shared in pairs on arrays of 5 and 4 columns: five converters for each of the two row-slices.
    assert len(gains[0, 0].unique()) == 5
    pairs = gains[:, :, [0, 2, 4, 5, 7]]
    assert not (pairs[1:] == pairs[:-1]).any()
    # n = 2000 draws: mean and std within 5 standard errors.
    n = pairs.numel()
    assert abs(float(pairs.mean()) - 1) < 5 * 0.1 / n**0.5
    assert abs(float(pairs.std()) - 0.1) < 5 * 0.1 / (2 * n) ** 0.5
    for columns in first[:3]:
        assert columns.converter.shape == (2, 9, 5)
        assert columns.transfer.shape == (2, 9, 3)


def test_draws_follow_torch_and_evaluation_has_nominal_converters():
    model, _, hooks = adapted("population")
    torch.manual_seed(3)
    first = model(X)
    second = model(X)
    torch.manual_seed(3)
    assert torch.equal(model(X), first)
    assert not torch.equal(first, second)
    model.eval()
    nominal = model(X)
    hooks.remove()
    assert torch.equal(model(X), nominal)


def test_each_sample_may_have_a_chip_of_its_own():
    model, _, _ = adapted("population", per="sample")
    same = X[:1].expand(20, -1)
    assert len(model(same).unique(dim=0)) > 10


def test_a_chip_that_is_programmed_keeps_its_own():
    model, _, _ = adapted("population")
    mho.program(model, seed=1)
    assert torch.equal(model(X), model(X))


def test_parameters_get_the_gradient_of_the_smooth_curve():
    model, _, _ = adapted(7)
    model(X).square().sum().backward()
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert (parameter.grad != 0).any()


@pytest.mark.parametrize("which", ["populations", -1, 1.5, True])
def test_what_names_no_converters(which):
    with pytest.raises(SpecError, match="converters"):
        mho.Adaptation(converters=which)


def test_converters_without_spread_cannot_differ():
    alike = HARDWARE.with_fields(adc={"bits": 5, "bound": 3.0, "converter": "sar"})
    with pytest.raises(SpecError, match="no converter of this hardware differs from another"):
        adapted("population", alike)


def test_training_with_the_converters_beats_training_without():
    """A regression through curved converters of 5 bits, on the chips it was trained for."""
    wanted = (X - 0.5) @ torch.randn(20, 4, generator=torch.Generator().manual_seed(2)) / 8
    losses: dict[bool, float] = {True: 0.0, False: 0.0}
    for seed in (5, 6):
        for aware in losses:
            model, _, hooks = adapted(seed)
            if not aware:
                hooks.remove()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
            for _ in range(200):
                optimizer.zero_grad()
                (model(X) - wanted).square().mean().backward()
                optimizer.step()
            mho.program(model, seed=seed)
            with torch.no_grad():
                losses[aware] += float((model(X) - wanted).square().mean())
    assert losses[True] < 0.5 * losses[False]
