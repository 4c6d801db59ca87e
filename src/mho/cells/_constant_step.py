"""The device whose step does not depend on its state."""

from typing import Any, ClassVar, Literal

import numpy as np

from ._pulsed_device import PulsedDevice


def constant_step(w, up, size, shape, low, high, cycle):
    """Step = size; spread = cycle * size."""
    return size, cycle * size


class ConstantStep(PulsedDevice):
    """Steps of the same size at every state, between hard bounds.

    Source: T. Gokmen and Y. Vlasov, Front. Neurosci. 10:333, 2016.
    """

    kind: Literal["constant_step"] = "constant_step"

    formula: ClassVar[Any] = staticmethod(constant_step)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse."""
        return (self.cycle_noise,)
