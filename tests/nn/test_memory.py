"""A model that does not fit into memory twice must convert."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mho

from .test_convert import Net

HARDWARE = mho.load("standard-hwa-2023")


class Allocations(TorchDispatchMode):
    """Bytes of every storage that an operation of torch makes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {storage(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        result = function(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and storage(made) not in given:
                self.sizes.append(made.untyped_storage().nbytes())
        return result


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


def stack(width=256, depth=3):
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))


def allocated(action):
    with Allocations() as seen:
        action()
    return seen.sizes


def test_the_count_sees_copies():
    model = stack()
    sizes = allocated(lambda: [p.clone() for p in model.parameters()])
    assert sum(sizes) == sum(p.nbytes for p in model.parameters())


def test_conversion_copies_no_weight_and_neither_does_its_undoing():
    for model in (stack(), Net()):
        whole = sum(p.nbytes for p in model.parameters())
        sizes = allocated(lambda model=model: mho.convert(model, HARDWARE))
        # One number for each weight, to find out whether it is finite.
        assert max(sizes) <= 8
        assert sum(sizes) < 0.01 * whole
        assert not allocated(lambda model=model: mho.restore(model))


def test_conversion_on_the_meta_device_allocates_nothing():
    with torch.device("meta"):
        model = stack()
    assert not allocated(lambda: mho.convert(model, HARDWARE))
    assert all(p.is_meta for p in model.parameters())


def test_loading_into_a_model_that_was_converted_empty_takes_the_tensors_as_they_are():
    with torch.device("meta"):
        model = stack()
    mho.convert(model, HARDWARE)
    state = stack().state_dict()
    assert not allocated(lambda: model.load_state_dict(state, assign=True))
    assert all(value.data_ptr() == state[key].data_ptr() for key, value in model.named_parameters())
