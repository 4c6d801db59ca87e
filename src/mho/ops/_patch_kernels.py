"""Numba kernels that lay the patches of a convolution side by side, and add patches up again.

A patch is a row of numbers of its image, which is flat: those at `origins[n] + offsets`. A kernel
does the images, or rows, `start` to `stop`.
"""

import numpy as np

from ._converter_kernels import MAGNITUDE, relative
from ._kept import kept
from ._kernels import add_coincidences, bernoulli_words

WORDS = 1 << 14  # of a block of samples, whose trains then lie in the memory close to the core


@kept
def gather(start, stop, images, origins, offsets, rows):
    """Fill rows (images times origins, offsets) from images (images, numbers)."""
    for b in range(start, stop):
        image = images[b]
        for n in range(origins.size):
            origin, row = origins[n], rows[b * origins.size + n]
            for k in range(offsets.size):
                row[k] = image[origin + offsets[k]]


@kept
def scatter(start, stop, rows, largest, full, origins, offsets, images):
    """Add rows full / largest (n,) to the images that `gather` would take them from."""
    for b in range(start, stop):
        image = images[b]
        for place in range(origins.size):
            n, origin = b * origins.size + place, origins[place]
            factor = full / np.float64(largest[n])  # in single precision it might overflow
            for k in range(offsets.size):
                image[origin + offsets[k]] += np.float32(rows[n, k] * factor)


@kept
def peaks(start, stop, images, origins, offsets, largest):
    """Fill largest (images, origins) with max |patch|; see `_converter_kernels.peaks`."""
    bits, most = images.view(np.int32), largest.view(np.int32)
    for b in range(start, stop):
        image = bits[b]
        for n in range(origins.size):
            origin, peak = origins[n], np.int32(0)
            for k in range(offsets.size):
                peak = max(peak, image[origin + offsets[k]] & MAGNITUDE)
            most[b, n] = peak


@kept
def drive_by_largest(start, stop, images, origins, offsets, full, v, largest):
    """Fill v (n, offsets) with round(full patch / largest), and largest (n,) with their peaks."""
    for b in range(start, stop):  # by images, whose rows stay close to the core
        gather(b, b + 1, images, origins, offsets, v)
        relative(b * origins.size, (b + 1) * origins.size, v, full, largest)


@kept
def add_trains(start, stop, patches, d, gains_x, gains_d, slots, first, step, keys, up, down):
    """Add the coincidences of patches and -d to counts (shares, out, rows), share by share.

    Patches are looked at only where the errors have a bit at all.
    """
    images, origins, offsets = patches
    n, out, rows, shares = d.shape[0], d.shape[1], offsets.size, up.shape[0]
    block = max(64, WORDS // (rows + out))
    x, x_up = np.zeros((block, rows), np.float32), np.empty((block, rows), np.bool_)
    x_words = np.empty((block, rows), np.int32)
    d_words, d_up = np.empty((block, out), np.int32), np.empty((block, out), np.bool_)
    gains, lengths = np.empty(block, np.float32), np.empty(block, np.int32)
    samples = np.empty(block, np.uint32)
    for share in range(start, stop):
        end = n * (share + 1) // shares
        for low in range(n * share // shares, end, block):
            count, found = min(block, end - low), 0
            for row in range(count):
                samples[row] = first + low + row
            bernoulli_words(
                0, count, d[low:], gains_d[low:], slots[low:], samples, step, keys[2], keys[3],
                d_words,
            )  # fmt: skip
            for row in range(count):
                together = np.int32(0)
                for i in range(out):
                    together |= d_words[row, i]
                if together == 0:
                    continue
                b, place = divmod(low + row, origins.size)
                origin = origins[place]
                for k in range(rows):
                    x[found, k] = images[b, origin + offsets[k]]
                for k in range(rows):
                    x_up[found, k] = x[found, k] > 0
                for i in range(out):
                    d_words[found, i], d_up[found, i] = d_words[row, i], d[low + row, i] < 0
                gains[found], lengths[found] = gains_x[low + row], slots[low + row]
                samples[found] = first + low + row
                found += 1
            bernoulli_words(0, found, x, gains, lengths, samples, step, keys[0], keys[1], x_words)
            add_coincidences(
                0, out, x_words[:found], x_up[:found], d_words[:found], d_up[:found],
                up[share], down[share],
            )  # fmt: skip
