"""What every memory cell must do: a new cell's test inherits this and names its literal oracle."""

import numpy as np
import pytest
import torch

from mho.cells import Cell, CellState
from mho.ops import Stream
from mho.spec import Spec, to_dict, to_json
from oracles.retention import Oracle

SAMPLES = 1_000_000
ERRORS = 5  # standard errors that a sample may stray; 6e-7 of correct samples stray further
MICRO = 1e6
HOUR, DAY, YEAR = 3600.0, 86400.0, 31557600.0

_XI = np.linspace(-12.0, 12.0, 24_001)
_WEIGHT = np.exp(-(_XI**2) / 2) / np.sqrt(2 * np.pi) * (_XI[1] - _XI[0])


def check_moments(sample, law, what):
    """Compare mean and variance of a sample with those of law(xi), xi standard normal.

    The exact moments come from quadrature, so rectified and folded normals need no special case.
    The standard errors are sqrt(m2/n) of the mean and sqrt((m4 - m2^2)/n) of the variance.
    """
    value = np.broadcast_to(law(_XI), _XI.shape)
    mean = np.sum(_WEIGHT * value)
    deviation = value - mean
    m2, m4 = np.sum(_WEIGHT * deviation**2), np.sum(_WEIGHT * deviation**4)
    x = sample.double().numpy().ravel()
    if m2 < (1e-6 * abs(mean)) ** 2 or m2 == 0:  # no noise: equal to the rounding of float32
        np.testing.assert_allclose(x, mean, rtol=1e-6, err_msg=what)
        return
    standard_errors = np.array([np.sqrt(m2 / x.size), np.sqrt((m4 - m2**2) / x.size)])
    off = np.array([x.mean() - mean, x.var() - m2]) / standard_errors
    assert (np.abs(off) < ERRORS).all(), f"{what}: mean and variance are off by {off} s.e."


class RetentionSuite:
    """Inherit, set `cell` and `oracle`, and if need be the times and relative targets."""

    cell: Cell
    oracle: Oracle
    times: tuple[float, ...] = (0.0, 1.0, DAY, YEAR)
    relative: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)

    def targets(self):
        low = self.cell.g_min
        return [low + r * (self.cell.g_max - low) for r in self.relative]

    def test_programming_moments(self):
        cell = self.cell.with_fields(drift=None)
        for g in self.targets():
            state = cell.program(torch.full((SAMPLES,), g), Stream(1, f"{g}"))
            law = lambda xi, g=g: self.oracle.programmed(g * MICRO, xi)  # noqa: E731
            check_moments(state.programmed * MICRO, law, f"programmed, target {g:g} S")

    def test_drift_moments(self):
        cell = self.cell.with_fields(programming=None, read=None)
        samples = 1000 if cell.drift is None else SAMPLES  # nothing random is left to sample
        for g in self.targets():
            stream = Stream(2, f"{g}")
            state = cell.program(torch.full((samples,), g), stream)
            for t in self.times:
                drifted = cell.conductance(state, t, stream)

                def law(xi, g=g * MICRO, t=t):
                    return self.oracle.clipped(self.oracle.drifted(g, g, t, xi), t)

                check_moments(drifted * MICRO, law, f"drift, target {g:g} S, {t:g} s")

    def test_read_moments(self):
        cell = self.cell.with_fields(programming=None, drift=None)
        samples = 1000 if cell.read is None else SAMPLES
        for g in self.targets():
            stream = Stream(3, f"{g}")
            state = cell.program(torch.full((samples,), g), stream)
            for t in self.times:
                law = lambda xi, g=g * MICRO, t=t: self.oracle.read(g, g, t, xi)  # noqa: E731
                read = cell.conductance(state, t, stream)
                check_moments(read * MICRO, law, f"read, target {g:g} S, {t:g} s")

    def test_laws_act_in_published_order(self):
        """Over the whole range, the same random numbers through the literal formulas agree."""
        stream, shape = Stream(4, "order"), (9973,)  # no step at which curves change is hit
        low = -self.cell.g_max if self.cell.signed else self.cell.g_min
        target = torch.linspace(low, self.cell.g_max, *shape)
        state = self.cell.program(target, stream)
        g = target.double().numpy() * MICRO
        xi = {
            name: stream.normal(name, shape).double().numpy() for name in ("programming", "drift")
        }
        programmed = self.oracle.programmed(g, xi["programming"])
        # Ten roundings of float32 relative to the largest conductance.
        close = {"rtol": 1e-5, "atol": 10 * 6e-8 * self.cell.g_max * MICRO}
        np.testing.assert_allclose(state.programmed.numpy() * MICRO, programmed, **close)
        for t in self.times:
            read_xi = stream.normal("read", shape, t).double().numpy()
            fresh = stream.normal("drift at", shape, t).double().numpy()
            measured = self.cell.drift is not None and self.cell.drift.kind == "measured_times"
            drifted = self.oracle.drifted(programmed, g, t, fresh if measured else xi["drift"])
            expected = self.oracle.read(programmed, drifted, t, read_xi)
            got = self.cell.conductance(state, t, stream).numpy() * MICRO
            np.testing.assert_allclose(got, expected, **close)

    def state(self, stream: Stream, shape=(2, 30, 40)) -> CellState:
        spread = stream.uniform("test", shape)
        low = -self.cell.g_max if self.cell.signed else self.cell.g_min
        return self.cell.program(low + spread * (self.cell.g_max - low), stream)

    def test_time_is_idempotent_and_reversible(self):
        stream = Stream(5, "time")
        state = self.state(stream)
        forward = [self.cell.conductance(state, t, stream) for t in self.times]
        backward = [self.cell.conductance(state, t, stream) for t in reversed(self.times)][::-1]
        for once, again in zip(forward, backward, strict=True):
            assert torch.equal(once, again)

    def test_instance_depends_on_names_only(self):
        first, other = Stream(6, "a"), Stream(6, "b")
        a, b = self.state(first), self.state(other)
        b_again, a_again = self.state(other), self.state(first)
        for one, two in ((a, a_again), (b, b_again)):
            assert torch.equal(one.programmed, two.programmed)
        t = self.times[-1]
        assert torch.equal(
            self.cell.conductance(a, t, first), self.cell.conductance(a_again, t, first)
        )
        if self.cell.programming is not None:
            target = torch.full((10_000,), self.cell.g_max / 2)
            streams = Stream(1, "a"), Stream(2, "a"), Stream(1, "b")
            chips = torch.stack([self.cell.program(target, s).programmed for s in streams])
            correlation = torch.corrcoef((chips / self.cell.g_max).double())
            # The correlation of independent numbers has the standard error 1/sqrt(n).
            assert (correlation - torch.eye(3)).abs().max() < ERRORS / 100

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_instance_is_independent_of_dtype(self, dtype):
        """Of the target's dtype and of torch's default, for targets that the dtype can hold."""
        stream = Stream(7, "dtype")
        wide = stream.uniform("test", (2, 30, 40)) * 0.9 * (self.cell.g_max - self.cell.g_min)
        narrow = (wide + self.cell.g_min * 1.05).to(dtype)
        reference = self.cell.program(narrow.float(), stream)
        t = self.times[-1]
        expected = self.cell.conductance(reference, t, stream)
        torch.set_default_dtype(torch.float64)
        try:
            state = self.cell.program(narrow, stream)
            got = self.cell.conductance(state, t, stream)
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(state.programmed, reference.programmed)
        assert got.dtype == torch.float32
        assert torch.equal(got, expected)

    def test_instance_is_independent_of_layout_and_threads(self):
        stream, shape = Stream(8, "layout"), (101, 503)
        target = self.cell.g_min + stream.uniform("test", shape) * (
            self.cell.g_max - self.cell.g_min
        )
        target = target.clamp(max=self.cell.g_max)
        state = self.cell.program(target, stream)
        transposed = self.cell.program(target.T.contiguous().T, stream)
        t = self.times[-1]
        expected = self.cell.conductance(state, t, stream)
        assert torch.equal(self.cell.conductance(transposed, t, stream), expected)
        strided = CellState(*(x if x is None else x.T.contiguous().T for x in state))
        assert torch.equal(self.cell.conductance(strided, t, stream), expected)
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            assert torch.equal(self.cell.conductance(state, t, stream), expected)
        finally:
            torch.set_num_threads(threads)

    def test_never_negative_and_always_finite(self):
        stream = Stream(9, "sign")
        state = self.state(stream, (100, 100))
        for t in self.times:
            g = self.cell.conductance(state, t, stream)
            assert torch.isfinite(g).all()
            assert self.cell.signed or (g >= 0).all()
            assert not self.cell.bounded or t == 0 or (g >= np.float32(self.cell.g_min)).all()

    def test_survives_text(self):
        class Holder(Spec):
            cell: Cell

        holder = Holder(cell=self.cell)
        for full in (True, False):
            again = Holder(**to_dict(holder, full=full))
            assert again == holder
            assert hash(again) == hash(holder)
            assert to_json(again) == to_json(holder)
