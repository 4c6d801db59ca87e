"""Patches of images by kernels: the rows, the way back, and trains that are never built."""

import pytest
import torch
from torch import Tensor

from mho.ops import (
    Trains,
    UnbuiltRows,
    add_coincidences,
    add_patch_coincidences,
    bernoulli_words,
    patches_in_one_pass,
    unbuilt_rows,
)

SIZES = {
    "1-D": ((7, 3, 61), (5,), (2,), (3,)),
    "2-D": ((5, 4, 13, 11), (3, 2), (1, 3), (2, 1)),
    "3-D": ((3, 2, 7, 8, 9), (3, 1, 2), (2, 1, 1), (1, 2, 3)),
}
each_size = pytest.mark.parametrize("name", SIZES)


def images(name: str, seed: int = 0) -> Tensor:
    return torch.randn(SIZES[name][0], generator=torch.Generator().manual_seed(seed))


def unfolded(x: Tensor, kernel, stride, dilation) -> Tensor:
    """The same by torch's views, (B, *places, channels, positions)."""
    n = len(kernel)
    for d in range(n):
        reach = dilation[d] * (kernel[d] - 1) + 1
        x = x.unfold(2 + d, reach, stride[d])[..., :: dilation[d]]
    return x.permute(0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n)).flatten(-n)


def rows_of(name: str, seed: int = 0) -> tuple[UnbuiltRows, Tensor]:
    sizes = SIZES[name][1:]
    rows, x = unbuilt_rows(images(name, seed), *sizes), images(name, seed)
    assert rows is not None
    return rows, unfolded(x, *sizes).flatten(-2).flatten(0, -2)


@each_size
def test_patches_are_those_of_views(name):
    x, sizes = images(name), SIZES[name][1:]
    assert torch.equal(patches_in_one_pass(x, *sizes), unfolded(x, *sizes))
    rows, expected = rows_of(name)
    assert rows.shape == tuple(expected.shape)
    assert torch.equal(rows.built(), expected)
    strided = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(patches_in_one_pass(strided, *sizes), unfolded(x, *sizes))


@each_size
def test_gradients_are_those_of_views_also_twice(name):
    """The loss is a cube, so that its second derivative depends on the patches."""
    found = []
    for patches in (patches_in_one_pass, unfolded):
        x = images(name).requires_grad_()
        (first,) = torch.autograd.grad(
            (patches(x, *SIZES[name][1:]) ** 3).sum(), x, create_graph=True
        )
        (second,) = torch.autograd.grad((first * images(name, 1)).sum(), x)
        found.append((first.detach(), second))
    for one, other in zip(*found, strict=True):
        # Sums of at most 30 terms in another order.
        assert torch.allclose(one, other, rtol=0, atol=30 * 2**-24 * float(other.abs().max()))


def test_sizes_without_a_place_and_few_numbers_are_left_to_torch():
    x = torch.randn(64, 4, 5, 5)
    assert patches_in_one_pass(x, (6, 1), (1, 1), (1, 1)) is None
    assert unbuilt_rows(x, (3, 3), (1, 1), (1, 3)) is None
    assert patches_in_one_pass(x[:1], (3, 3), (1, 1), (1, 1)) is None
    assert patches_in_one_pass(x.double(), (3, 3), (1, 1), (1, 1)) is None


@each_size
def test_drives_relative_to_the_largest_number_of_each_patch(name):
    rows, built = rows_of(name)
    codes, largest = rows.driven_by_largest(63.0)
    r = built.abs().amax(1, keepdim=True)
    assert torch.equal(largest, r)
    assert torch.equal(codes, (built / r * 63).round())


def test_patches_of_zeros_drive_nothing_and_have_finite_gradients():
    x = images("2-D")
    x[0] = 0
    x.requires_grad_()
    rows = unbuilt_rows(x, *SIZES["2-D"][1:])
    codes, largest = rows.driven_by_largest(63.0)
    per_image = len(codes) // len(x)
    assert not codes[:per_image].any()
    assert torch.equal(largest[:per_image], torch.full((per_image, 1), torch.finfo().tiny))
    (codes * largest).sum().backward()
    # Straight through: d codes / d x = 63 / largest, for every patch that a pixel is in.
    counts = torch.ones_like(x).requires_grad_()
    unfolded(counts, *SIZES["2-D"][1:]).sum().backward()
    assert torch.allclose(x.grad, 63 * counts.grad, rtol=1e-5)


@each_size
def test_peaks_tell_what_is_not_a_number(name):
    rows, built = rows_of(name)
    assert torch.equal(rows.peaks(), built.abs().amax(1))
    x = images(name)
    x.view(-1)[0] = torch.nan
    rows = unbuilt_rows(x, *SIZES[name][1:])
    hit = unfolded(x, *SIZES[name][1:]).flatten(-2).flatten(0, -2).isnan().any(1)
    assert hit.any()
    assert torch.equal(rows.peaks().isnan(), hit)


@pytest.mark.parametrize("threads", [1, 2])
@each_size
def test_coincidences_are_those_of_trains_that_are_built(name, threads):
    """Samples without slots, without an error, and of several lengths."""
    rows, x = rows_of(name)
    n, out = len(rows), 6
    g = torch.Generator().manual_seed(2)
    d = torch.randn(n, out, generator=g) * (torch.rand(n, 1, generator=g) < 0.7)
    slots = torch.randint(0, 32, (n,), generator=g, dtype=torch.int32)
    slots[: n // 2] = 1
    gains = torch.rand(n, generator=g), 0.3 * torch.rand(n, generator=g)
    keys, first, step = ((3, 4), (5, 6)), 11, 7
    words = [
        bernoulli_words(values, gain, slots, first, step, key)
        for values, gain, key in zip((x, d), gains, keys, strict=True)
    ]
    expected = torch.zeros(2, out, rows.shape[1], dtype=torch.int32)
    add_coincidences(Trains(words[0], x > 0, words[1], d < 0), *expected)
    counts = torch.ones_like(expected)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert add_patch_coincidences(rows, d, gains, slots, first, step, keys, *counts)
    finally:
        torch.set_num_threads(before)
    assert expected.sum() > n
    assert torch.equal(counts - 1, expected)


def test_counts_that_take_more_memory_than_trains_are_left_alone():
    rows = unbuilt_rows(torch.rand(2, 40, 6, 5), (5, 4), (1, 1), (1, 1))
    n, out = len(rows), 20  # 8 patches of 800 numbers
    d, counts = torch.ones(n, out), torch.zeros(2, out, rows.shape[1], dtype=torch.int32)
    ones = torch.ones(n), torch.ones(n)
    slots = torch.ones(n, dtype=torch.int32)
    assert not add_patch_coincidences(rows, d, ones, slots, 0, 0, ((1, 2), (3, 4)), *counts)
    assert not counts.any()
