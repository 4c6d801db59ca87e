"""Linearity of converters: thresholds, DNL and INL from the codes alone."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..circuits import ADC
from ..errors import DataError, RangeError
from ..ops import Stream
from ..tiles import conversion
from ._linearity_result import Linearity

HALVINGS = 45
"""Of the range of signals; what is left of it, 3e-14, is near the rounding of numbers."""
REPEATS = 8
"""Conversions on both sides of a threshold: noise passes all of them with a chance of 4^-8."""


@torch.no_grad()
def linearity(
    adc: ADC | Callable[[Tensor], Tensor],
    *,
    converters: int = 1,
    seed: int | None = 0,
    method: Literal["search", "histogram"] = "search",
    samples: int = 100,
    span: float = 1.5,
    steps: int | None = None,
) -> Linearity:
    """Measure the thresholds between the codes of converters, and what makes them unequal.

    The threshold T_k is the signal at which the code becomes k. `search` halves intervals until it
    is known to the rounding of numbers, which takes converters without noise and with monotone
    codes. `histogram` counts the codes of a fine ramp of signals, T_k = low + span N(code < k) / N
    (IEEE Std 1241-2010, ramp histogram); it averages noise, takes any converter, and is exact to a
    step / `samples`.

    Args:
        adc: the value, of which converters are drawn; or a function from signals
            (n, converters), relative to full scale, to their codes.
        converters: how many.
        seed: of the chip that they are drawn of; None for nominal ones.
        method: see above.
        samples: signals for each step of the ramp.
        span: signals go from -span to span, relative to full scale.
        steps: codes from -steps/2 to steps/2 that a function has; an ADC knows them.

    Raises:
        RangeError: an ADC without levels, or arguments out of range.
        DataError: the codes do not reach both ends within the span, or a search meets noise.
    """
    if method not in ("search", "histogram"):
        raise RangeError(f"unknown method {method!r}: use search or histogram.")
    if converters < 1 or samples < 2 or not span > 0:
        raise RangeError(
            "converters must be at least 1, samples at least 2 and span above 0, got "
            f"{converters}, {samples} and {span}."
        )
    if isinstance(adc, ADC):
        half = adc.half_steps
        source = None if seed is None else Stream(seed, "linearity")
        convert = conversion(adc, converters, source)
    else:
        half, convert = None if steps is None else steps // 2, adc
    if half is None or half < 1:
        raise RangeError(
            "a converter without levels has no thresholds: give the ADC bits, or `steps` "
            "(at least 2) of a function."
        )
    codes = torch.arange(-half + 1, half + 1, dtype=torch.float64)
    find = _searched if method == "search" else _counted
    thresholds = find(convert, codes, converters, span, samples)
    missing = ~np.isfinite(thresholds)
    if missing[:, [0, -1]].any():
        raise DataError(
            f"some codes from {-half} to {half} were not seen for signals of {span:g} of full "
            "scale: the curve saturates below them, or the span is too small; raise `span`."
        )
    return Linearity(codes.numpy().astype(int), half * thresholds)


def _searched(
    convert: Callable[[Tensor], Tensor], codes: Tensor, count: int, span: float, _: int
) -> np.ndarray:
    """Thresholds (converters, codes) by bisection, all at once."""
    low = torch.full((len(codes), count), -span, dtype=torch.float64)
    high = -low
    wanted = codes[:, None]
    reached = (convert(high) >= wanted) & (convert(low) < wanted)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = convert(middle) >= wanted
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    for _ in range(REPEATS):
        again = (convert(high) >= wanted) & (convert(low) < wanted)
        if not bool(again[reached].all()):
            raise DataError(
                "the same signal is converted to different codes, so that thresholds cannot be "
                "searched for: take the noise out, or use method='histogram', which averages it."
            )
    return torch.where(reached, high, torch.nan).T.numpy()


def _counted(
    convert: Callable[[Tensor], Tensor], codes: Tensor, count: int, span: float, samples: int
) -> np.ndarray:
    """Thresholds (converters, codes) from the histogram of a ramp."""
    n = int(np.ceil(span * samples * (len(codes) + 1)))
    ramp = (torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 * span - span
    found = convert(ramp[:, None].repeat(1, count))
    below = torch.stack([(found < code).sum(0) for code in codes], 1).double()
    share = torch.where((below > 0) & (below < n), below / n, torch.nan)
    return (share * 2 * span - span).numpy()
