"""torch.export of converted and programmed models, noise included."""

import io

import pytest
import torch

from .models import EFFECTS, INPUTS, ready

# Strict export runs dynamo, which makes an instance of every custom Function that it captures.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning"
)


def noisy(model, x, seed=5):
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize(
    ("name", "stage", "strict"),
    [
        ("cnn", "converted", False),
        ("cnn", "programmed", False),
        ("mlp", "programmed", False),
        ("mlp", "programmed", True),
    ],
)
def test_an_exported_program_computes_the_same(name, stage, strict):
    model, x = ready(name, stage=stage).eval(), INPUTS[name]
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (x,), dynamic_shapes=batch, strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for size in (3, 1, 2):
        assert torch.equal(noisy(loaded, x[:size]), noisy(model, x[:size]))
    assert not torch.equal(noisy(loaded, x), noisy(loaded, x, seed=6))  # noise is on


@pytest.mark.parametrize(("name", "hardware"), EFFECTS)
def test_every_effect_and_layer_is_exported(name, hardware):
    model, x = ready(name, hardware).eval(), INPUTS[name]
    program = torch.export.export(model, (x,))
    assert torch.equal(noisy(program.module(), x), noisy(model, x))
