"""Many pulses at once: how many a cell takes in one go, and how far they move it. Formulas."""

from ._words import abs_, floor, maximum, minimum, sqrt, where


def sub_step(up, down, up_step, up_spread, down_step, down_spread, room, total, done, whole):
    """Return how many pulses (up, down, together) may act as one.

    Their mean moves a cell by at most `room` and their spread by at most five times that, but one
    pulse always acts. `up` and `down` are all pulses in either direction; if they are whole, they
    are interleaved as evenly as can be, by products that are exact, for all backends alike.
    """
    rising, falling = up / maximum(total, 1e-20), down / maximum(total, 1e-20)
    drift = abs_(rising) * abs_(up_step) + abs_(falling) * abs_(down_step)
    variance = abs_(rising) * up_spread * up_spread + abs_(falling) * down_spread * down_spread
    fit = minimum(room / maximum(drift, 1e-20), 25.0 * room * room / maximum(variance, 1e-20))
    m = minimum(maximum(floor(fit), 1.0), total - done)
    before, after = up * done / maximum(total, 1e-20), up * (done + m) / maximum(total, 1e-20)
    even = floor(after + 0.5) - floor(before + 0.5)
    ups = where(whole > 0, even, rising * m)
    return ups, where(whole > 0, m - even, falling * m), m


def movement(ups, downs, m, up_step, up_spread, down_step, down_spread, up_ahead, down_ahead, xi):
    """Return how far a sub-step moves a cell.

        m s(w) + (m - 1) / 2 (s(w + m s(w)) - s(w)) + sqrt(sum spread^2) xi

    The second term makes the sum of m steps right to second order in the change of the step s.
    """
    move = ups * up_step - downs * down_step
    change = ups * (up_ahead - up_step) - downs * (down_ahead - down_step)
    variance = abs_(ups) * up_spread * up_spread + abs_(downs) * down_spread * down_spread
    return move + change * (maximum(m - 1.0, 0.0) / (2.0 * m)) + sqrt(variance) * xi
