"""Write and verify on cells of constant steps, literally, cell by cell, in double precision."""

import numpy as np


def write_and_verify(
    target, step, tolerance, approach, rounds, rng, cycle=0.0, write=0.0, read=0.0
):
    """Return the errors (w - target) before the first pulse and after each round, and who was in.

    Everything is in units of full scale; bounds are far away. A burst of n pulses is n pulses.
    """
    errors = np.zeros((rounds + 1, len(target)))
    inside = np.zeros((rounds + 1, len(target)), dtype=bool)
    for cell, wanted in enumerate(target):
        state, noise = 0.0, 0.0
        for number in range(rounds + 1):
            weight = state + noise
            error = wanted - (weight + read * rng.standard_normal())
            errors[number, cell] = weight - wanted
            inside[number, cell] = abs(error) <= tolerance
            if inside[number, cell]:
                continue
            pulses = max(1, int(approach * abs(error) / step))
            for _ in range(pulses):
                moved = step * (1 + cycle * rng.standard_normal())
                state += moved if error > 0 else -moved
            noise = write * step * rng.standard_normal()
    return errors, inside
