"""Every response under each fidelity of the update: the same mean and variance of the states."""

import numpy as np
import pytest
import torch

from mho.cells import PulsedDevice
from mho.ops import Stream
from mho.tiles import DeviceArray, Pulses, Samples
from ops.responses import NAMES, SUITES

N, SLOTS = 4000, 31


def without_spreads(device: PulsedDevice) -> PulsedDevice:
    """The mean cell, with its noise from pulse to pulse."""
    spreads = [name for name in type(device).model_fields if name.endswith("_spread")]
    still = {"lifetime": None, "diffusion": 0.0, "stuck": 0.0, "stuck_range": None}
    return device.model_copy(update=dict.fromkeys(spreads, 0.0) | still)


def states(device: PulsedDevice, fidelity: str, share: float) -> np.ndarray:
    """States of N cells that start at a share of the range and share no line's bits but one.

    There is one row, whose bits are always 1, so cells are independent. The first column has the
    largest error; the others get about four pulses, a twelfth of what crosses the range.
    """
    array = DeviceArray(device, (N + 1, 1), Stream(1, fidelity))
    single = array.arrays[0]
    low, high = single.constants.low, single.constants.high
    single.state = low + share * (high - low)
    g = torch.Generator().manual_seed(1)
    d = 0.02 * torch.randn(4, N + 1, generator=g).sign()
    d[:, 0] = 0.6
    rate = SLOTS * array.granularity / 0.6  # probabilities of the largest are 1
    array.update(Samples.of(torch.ones(4, 1), d), rate, Pulses(fidelity=fidelity, slots=SLOTS))
    assert array.saturation.share == 0
    return single.state[1:, 0].double().numpy()


def variance_error(values: np.ndarray) -> float:
    """Standard error of the sample's variance."""
    return float(np.std((values - values.mean()) ** 2) / np.sqrt(len(values)))


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("suite", SUITES, ids=NAMES)
def test_fidelities_agree(suite, share):
    """Mean and variance within five standard errors, far from a bound and near one."""
    device = without_spreads(suite.device)
    truth = states(device, "pulse", share)
    assert truth.std() > 0.01
    for fidelity in ("batch", "moments"):
        other = states(device, fidelity, share)
        error = np.sqrt((truth.var() + other.var()) / N)
        assert abs(truth.mean() - other.mean()) <= 5 * error, fidelity
        error = np.hypot(variance_error(truth), variance_error(other))
        assert abs(truth.var() - other.var()) <= 5 * error, fidelity
