"""Gradient-descent programming of an array of pairs, literally, in double precision."""

import numpy as np


def gradient_descent(
    target, std, spread, gain, offset, bound, levels, noise, rounds, batch, approach, threshold,
    significance, rng,
):  # fmt: skip
    """Return rms errors of the cells and relative errors of the products, round by round.

    Cell by cell: an amplitude sets a device to (1 + spread zeta) amplitude + std xi, at least 0.
    Converters have `levels` steps on each side of 0.
    """
    out, rows = target.shape
    own = 1 + spread * rng.standard_normal((2, out, rows))
    wanted, g = target.copy(), np.zeros((2, out, rows))
    amplitude = np.stack([np.maximum(target, 0), np.maximum(-target, 0)])
    for k in np.ndindex(g.shape):
        g[k] = max(own[k] * amplitude[k] + std * rng.standard_normal(), 0.0)
    sums, certain = np.zeros((out, rows)), np.zeros((out, rows))
    cells, products = [], []
    for number in range(rounds + 1):
        w = g[0] - g[1]
        x = rng.uniform(-1, 1, (batch, rows))
        y = gain * (x @ w.T + noise * rng.standard_normal((batch, out))) + offset * bound
        code = np.rint(np.clip(y / bound, -1, 1) * levels)
        y, inside = code / levels * bound, np.abs(code) < levels
        exact = x @ target.T
        error = y - exact
        cells.append(np.sqrt(np.mean((w - target) ** 2)))
        products.append(np.linalg.norm(error) / np.linalg.norm(exact))
        if number == rounds:
            break
        for i, j in np.ndindex(out, rows):
            e, v = error[inside[:, i], i], x[inside[:, i], j]
            e = e - e.mean()
            power = np.sum(v**2)
            slope, variance = np.sum(e * v) / power, np.mean(e**2) / power
            sums[i, j] += slope / variance
            certain[i, j] += 1 / variance
            estimate, deviation = sums[i, j] / certain[i, j], certain[i, j] ** -0.5
            if abs(estimate) <= max(threshold, significance * deviation):
                continue
            sums[i, j] = certain[i, j] = 0.0
            wanted[i, j] = np.clip(wanted[i, j] - approach * estimate, -1, 1)
            for k, new in enumerate((max(wanted[i, j], 0.0), max(-wanted[i, j], 0.0))):
                if new != amplitude[k, i, j]:
                    amplitude[k, i, j] = new
                    g[k, i, j] = max(own[k, i, j] * new + std * rng.standard_normal(), 0.0)
    return np.array(cells), np.array(products)
