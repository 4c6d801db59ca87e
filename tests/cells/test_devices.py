"""Every response against its literal oracle: pulses, moments, states, twins, symmetry, text."""

import math

from mho.cells import (
    ConstantStep,
    ExponentialResponse,
    ExponentialStep,
    HiddenStep,
    LinearStep,
    PiecewiseStep,
    PowerResponse,
    PowerStep,
    SoftBounds,
    SoftBoundsPmax,
)
from oracles import devices as oracles

from .device_suite import DeviceSuite

# Steps of 2 % of the range, so that a few thousand pulses reach whatever they lead to.
SPREADS = {
    "step_spread": 0.3, "asymmetry": 0.1, "asymmetry_spread": 0.02, "low_spread": 0.1,
    "high_spread": 0.15, "stuck": 0.05, "stuck_range": 0.3, "lifetime": 100.0,
    "lifetime_spread": 0.2, "diffusion": 0.01, "diffusion_spread": 0.2, "reset": 0.1,
    "reset_spread": 0.02, "reference": 0.05, "reference_spread": 0.03,
}  # fmt: skip
SIZE = {"step": 0.04, "low": -0.8, "high": 1.2}
MEAN_STEP = 0.04 * (1 + 0.9) / 2  # an asymmetry of 0.1 weakens steps down


class TestConstantStep(DeviceSuite):
    device = ConstantStep(cycle_noise=0.3, **SIZE, **SPREADS)
    oracle = staticmethod(oracles.constant_step(0.3))
    states = 2 / MEAN_STEP
    symmetric = False


LINEAR = {
    "gamma_up": 0.4, "gamma_down": 0.6, "gamma_up_spread": 0.05, "gamma_down_spread": 0.05,
}  # fmt: skip


def linear_states(gamma_up, gamma_down):
    """Number of states where the granularity is that at weight 0, which is the state 0.05."""
    up, down = 0.04 * (1 - gamma_up * 0.05 / 1.2), 0.04 * 0.9 * (1 + gamma_down * 0.05 / 0.8)
    return 2 / ((up + down) / 2)


class TestLinearStep(DeviceSuite):
    device = LinearStep(cycle_noise=0.3, **SIZE, **SPREADS, **LINEAR)
    oracle = staticmethod(oracles.linear_step(0.3))
    states = linear_states(0.4, 0.6)
    symmetric = False  # some cells' steps cross beyond their bounds


class TestLinearStepAdditive(DeviceSuite):
    device = LinearStep(
        cycle_noise=0.3, cycle_law="additive", slope_reference="own", **SIZE,
        **{**SPREADS, **LINEAR, "asymmetry": 0.0, "asymmetry_spread": 0.02},
    )  # fmt: skip
    oracle = staticmethod(oracles.linear_step(0.3, mult_noise=False))
    states = 2 / (0.04 * (2 - 0.4 * 0.05 / 1.2 + 0.6 * 0.05 / 0.8) / 2)


class TestLinearStepIncreasing(DeviceSuite):
    """Steps that grow towards the bound: no state to which alternating pulses lead."""

    device = LinearStep(
        cycle_noise=0.3, increasing=True, gamma_up=-0.4, gamma_down=-0.3, **SIZE, **SPREADS
    )
    oracle = staticmethod(oracles.linear_step(0.3))
    states = linear_states(-0.4, -0.3)
    symmetric = False


class TestSoftBounds(DeviceSuite):
    device = SoftBounds(cycle_noise=0.3, **SIZE, **SPREADS)
    oracle = staticmethod(oracles.soft_bounds(0.3))
    states = linear_states(1.0, 1.0)


class TestSoftBoundsAdditive(DeviceSuite):
    """Log-normal sizes, and noise so large that pulses often go backwards."""

    device = SoftBounds(
        cycle_noise=3.0, cycle_law="additive", step_law="log_normal", **SIZE, **SPREADS
    )
    oracle = staticmethod(oracles.soft_bounds(3.0, mult_noise=False))
    states = linear_states(1.0, 1.0)


class TestSoftBoundsPmax(DeviceSuite):
    device = SoftBoundsPmax(pulses=40, rate=0.03, low=-0.8, high=1.2, cycle_noise=0.3, **SPREADS)
    oracle = staticmethod(oracles.soft_bounds(0.3))
    span = 2 / (1 - math.exp(-1.2))
    share = 1 - math.exp(-0.03)
    up = share * (-0.8 + span - 0.05)
    down = 0.9 * share * (0.05 - (1.2 - span))
    states = (2 * span - 2) / ((up + down) / 2)


class TestExponentialStep(DeviceSuite):
    """The CMOS cell, which is the default."""

    device = ExponentialStep(cycle_noise=0.3, **SIZE, **SPREADS)
    oracle = staticmethod(
        oracles.exponential_step(0.3, 0.00081, 0.36833, 12.44625, 12.78785, 0.244, 0.2425)
    )
    z = 2 * 0.05 / 2 * 0.244 + 0.2425
    up = 0.04 * (1 - 0.00081 * math.exp(12.44625 * z))
    down = 0.036 * (1 - 0.36833 * math.exp(-12.78785 * z))
    states = 2 / ((up + down) / 2)
    pairs = 5000  # both steps are nearly the same in the middle of the range
    symmetric = False  # of cells of the least size, asymmetry outweighs the shape


class TestExponentialStepComplexNoise(DeviceSuite):
    device = ExponentialStep(
        cycle_noise=0.6, noise_offset=0.042, noise_slope=0.108, amplitude_up=-1.2,
        amplitude_down=-0.8, rate_up=1.5, rate_down=2.0, scale=-0.5, shift=-0.1, **SIZE, **SPREADS,
    )  # fmt: skip
    oracle = staticmethod(
        oracles.exponential_step(0.6, -1.2, -0.8, 1.5, 2.0, -0.5, -0.1, 0.042, 0.108)
    )
    z = -0.05 * 0.5 - 0.1
    up = 0.04 * (1 + 1.2 * math.exp(1.5 * z))
    down = 0.036 * (1 + 0.8 * math.exp(-2.0 * z))
    states = 2 / ((up + down) / 2)
    symmetric = False  # of cells of the least size, asymmetry outweighs the shape


class TestPowerStep(DeviceSuite):
    device = PowerStep(
        exponent=1.7, exponent_spread=0.1, exponent_asymmetry=-0.1, exponent_asymmetry_spread=0.02,
        cycle_noise=0.3, **SIZE, **SPREADS,
    )  # fmt: skip
    oracle = staticmethod(oracles.power_step(0.3))
    up, down = 0.04 * (1.15 / 2) ** (0.9 * 1.7), 0.036 * (0.85 / 2) ** 1.7
    states = 2 / ((up + down) / 2)


class TestPiecewiseStep(DeviceSuite):
    device = PiecewiseStep(
        up=(1.5, 1.2, 1.0, 0.4, 0.1), down=(0.1, 0.5, 0.9, 1.3, 1.6), cycle_noise=0.3, **SIZE,
        **SPREADS,
    )  # fmt: skip
    oracle = staticmethod(
        oracles.piecewise_step(0.3, (1.5, 1.2, 1.0, 0.4, 0.1), (0.1, 0.5, 0.9, 1.3, 1.6))
    )
    q = 0.85 / 2 * 4  # between nodes 1 and 2
    up = 0.04 * (1.2 - 0.2 * (q - 1))
    down = 0.036 * (0.5 + 0.4 * (q - 1))
    states = 2 / ((up + down) / 2)
    symmetric = False  # of cells of the least size, asymmetry outweighs the shape


class TestPiecewiseStepMeasuredNoise(DeviceSuite):
    device = PiecewiseStep(
        up=(1.5, 1.0, 0.1), down=(0.1, 1.0, 1.5), noise_up=(0.3, 0.2, 0.05),
        noise_down=(0.1, 0.3, 0.2), **SIZE, **SPREADS,
    )  # fmt: skip
    oracle = staticmethod(
        oracles.piecewise_step(
            ((0.3, 0.2, 0.05), (0.1, 0.3, 0.2)), (1.5, 1.0, 0.1), (0.1, 1.0, 1.5)
        )
    )
    up, down = 0.04 * (1.5 - 0.5 * 0.85), 0.036 * (0.1 + 0.9 * 0.85)
    states = 2 / ((up + down) / 2)
    symmetric = False  # of cells of the least size, asymmetry outweighs the shape


class TestPowerResponse(DeviceSuite):
    device = PowerResponse(exponent=0.5, cycle_noise=0.3, **SIZE, **SPREADS)
    oracle = staticmethod(oracles.power_response(0.3, 0.5))
    up, down = 0.04 * (1 - 0.05 / 1.2) ** 0.5, 0.036 * (1 + 0.05 / 0.8) ** 0.5
    states = 2 / ((up + down) / 2)


class TestExponentialResponse(DeviceSuite):
    device = ExponentialResponse(exponent=2.0, cycle_noise=0.3, **SIZE, **SPREADS)
    oracle = staticmethod(oracles.exponential_response(0.3, 2.0))
    up = 0.04 * math.expm1(2 * (1 - 0.05 / 1.2)) / math.expm1(2)
    down = 0.036 * math.expm1(2 * (1 + 0.05 / 0.8)) / math.expm1(2)
    states = 2 / ((up + down) / 2)


class TestHiddenStep(DeviceSuite):
    device = HiddenStep(levels=3, cycle_noise=0.3, **{**SIZE, "step": 0.1}, **SPREADS)
    oracle = staticmethod(oracles.hidden_step(0.3, 3, 2.0))
    states = 2 / (0.1 * (1 + 0.9) / 2)
    symmetric = False


class TestHiddenStepBinary(DeviceSuite):
    """Two levels, and two and a half pulses between them."""

    device = HiddenStep(cycle_noise=0.3, **{**SIZE, "step": 0.8}, **SPREADS)
    oracle = staticmethod(oracles.hidden_step(0.3, 2, 2.0))
    states = 2 / (0.8 * (1 + 0.9) / 2)
    symmetric = False
