"""torch.compile captures converted and programmed models whole, noise included."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import mho

from .models import EFFECTS, INPUTS, ready, step

# Dynamo itself makes an instance of every custom Function that it captures.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _apart():
    torch._dynamo.reset()


def compiled(model, backend):
    return torch.compile(model, fullgraph=True, backend=backend)


@pytest.mark.parametrize(
    ("name", "stage"), [("cnn", "converted"), ("cnn", "programmed"), ("mlp", "programmed")]
)
def test_the_same_step_as_eager_with_the_same_noise(name, stage):
    model, x = ready(name, stage=stage), INPUTS[name]
    found, wanted = step(compiled(model, "aot_eager"), x), step(model, x)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, msg=key)
    assert float((wanted["y"] - step(model, x, seed=6)["y"]).abs().max()) > 1e-3  # noise is on


@pytest.mark.parametrize(("name", "hardware"), EFFECTS)
def test_every_effect_and_layer_is_captured(name, hardware):
    model, x = ready(name, hardware), INPUTS[name]
    with torch._dynamo.config.patch(allow_rnn=True):  # torch refuses its own GRU without it
        found = step(compiled(model, "eager"), x)
    wanted = step(model, x)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, msg=key)


def test_inductor_makes_the_same_numbers():
    model, x = ready("mlp"), INPUTS["mlp"]
    with torch._inductor.config.patch(fallback_random=True):  # eager's generator
        found, wanted = step(compiled(model, "inductor"), x), step(model, x)
    # Fused kernels round otherwise, which may move an ADC's code by one step of 10/127 of a
    # column's full scale; the gradient is straight through, so that only rounding is left there.
    torch.testing.assert_close(found["y"], wanted["y"], atol=1e-4, rtol=1e-4)
    for key in wanted.keys() - {"y"}:
        torch.testing.assert_close(found[key], wanted[key], atol=1e-3, rtol=1e-3, msg=key)


def test_a_compiled_model_follows_the_life_of_its_chip():
    """Nothing of a chip is baked in: neither its cells, its time nor its corrections."""
    model, x, counter = ready("mlp"), INPUTS["mlp"], CompileCounter()
    fast = compiled(model, counter)

    def assert_same_as_eager():
        outputs = []
        for each in (fast, model):
            torch.manual_seed(1)
            outputs.append(each(x))
        assert torch.equal(*outputs)
        return outputs[0]

    with torch.no_grad():
        seen = [assert_same_as_eager()]
        for change in (
            lambda: mho.at(model, "10 y"),
            lambda: mho.compensate(model, "column"),
            lambda: mho.compensate(mho.program(model, seed=4)),
        ):
            change()
            seen.append(assert_same_as_eager())
            assert all(not torch.equal(seen[-1], other) for other in seen[:-1])
        assert counter.frame_count == 1  # time and corrections cost no new compilation
        mho.erase(model)
        assert_same_as_eager()
