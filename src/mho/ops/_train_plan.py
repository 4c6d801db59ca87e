"""How much of a sample goes into its pulse trains. A formula."""

from ._words import floor, maximum, minimum, sqrt, where


def train_plan(most_x, most_d, rate, granularity, slots, by_need, managed):
    """Return gains of |x| and |d|, the length of the trains, and how far they are overfull.

    See `tiles.Pulses` for what they are. `by_need` is slot management, `managed` update management.
    The last number is, at a rate, the product of both sides' largest chances before they are
    limited, or the square of the larger one without update management: above 1, a chance is. It is
    not a number where the sample is not finite.
    """
    product = most_x * most_d
    needed = rate * product / granularity  # kappa
    length = where(by_need, minimum(-floor(-needed), slots), slots)
    length = where(product > 0, length, 0.0)
    gain = sqrt(rate / (granularity * maximum(length, 1.0)))
    fit = minimum(slots / maximum(needed, 1e-30), 1.0)
    ratio = sqrt(maximum(most_x, 1e-30) / maximum(most_d * fit, 1e-30))
    gain_x, gain_d = gain / where(managed, ratio, 1.0), gain * where(managed, ratio, 1.0)
    most = maximum(gain_x * most_x, gain_d * most_d)
    overfull = where(managed, needed / slots, most * most)
    return gain_x, gain_d, length, overfull + (product - product)
