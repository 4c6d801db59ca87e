"""What every single device must do: a new response's test inherits this and names its oracle."""

import numpy as np
import pytest
import torch

from mho.cells import Cell, Composed, Device, Devices, PulsedDevice
from mho.ops import Stream, twin
from mho.spec import Spec, to_dict, to_json
from oracles import devices as oracles

from .suite import check_moments

SHAPE = (20, 30)
SAMPLES = 200_000


class Holder(Spec):
    device: Device


def numbers(cells: Devices) -> oracles.Cell:
    """The cells in the oracle's terms."""
    return oracles.Cell(*(tensor.double().numpy() for tensor in cells[:6]))


class DeviceSuite:
    """Inherit and set `device`, with its noise and all its spreads on, and its literal `oracle`.

    `states` is (high - low) / granularity by the response's own formula; `symmetric` says whether
    each cell has a symmetry point, to which `pairs` of pulses lead.
    """

    device: PulsedDevice
    oracle: oracles.Pulse
    states: float
    symmetric = True
    pairs = 1000

    def cells(self, name="suite") -> Devices:
        return self.device.draw(SHAPE, Stream(1, name))

    def states_of(self, cells: Devices) -> list[np.ndarray]:
        """States between each cell's bounds: both of them, 0, and at random."""
        low, high = cells.low.double().numpy(), cells.high.double().numpy()
        at = np.random.default_rng(1).random(SHAPE)
        return [low, high, np.clip(0 * low, low, high), low + at * (high - low)]

    def test_formula_is_the_published_one(self):
        """Every cell, both directions, any noise: the literal pulse and the formula agree."""
        cells = self.cells()
        moving = cells.low < cells.high
        states = [state[moving.numpy()] for state in self.states_of(cells)]
        cells = Devices(*(None if t is None else t[moving] for t in cells))
        xi = Stream(2, "noise").normal("xi", cells.low.shape).double().numpy()
        for state in states:
            for up in (True, False):
                step, spread = self.device.respond(cells, state, up)
                moved = self.device.after_pulse(cells, state, up, xi)
                expected = self.oracle(state, up, numbers(cells), xi)
                # Slopes and tables are kept in float32: two roundings of the largest term.
                size = (cells.size_up if up else cells.size_down).double().numpy()
                close = 1.2e-7 * (size + np.abs(step) + np.abs(spread * xi)) + 1e-15
                assert (np.abs(moved - expected) <= close).all()

    def test_moments_of_a_pulse(self):
        """Mean and variance of the mean cell's new state, with noise, near and far from bounds."""
        cell = self.device.mean_cell()
        low, high = cell.low.item(), cell.high.item()
        xi = Stream(3, "moments").normal("xi", (1, SAMPLES)).double()
        for share in (0.05, 0.5, 0.8):
            state = np.full((1, SAMPLES), low + share * (high - low))
            for up in (True, False):
                moved = torch.from_numpy(self.device.after_pulse(cell, state, up, xi.numpy()))

                def law(xi, up=up, state=state[0, 0]):
                    return self.oracle(state, up, oracles.Cell(*map(np.squeeze, numbers(cell))), xi)

                check_moments(moved, law, f"{'up' if up else 'down'} from {share} of the range")

    def test_cells_are_consistent(self):
        cells = self.cells()
        assert all(t.shape == SHAPE and t.dtype == torch.float32 for t in cells if t is not None)
        assert all(bool(torch.isfinite(t).all()) for t in cells if t is not None)
        assert bool((cells.low <= cells.high).all())
        stuck = cells.low == cells.high
        assert 0 < int(stuck.sum()) < stuck.numel()
        assert bool((cells.low[~stuck] <= 0).all())
        assert bool((cells.high[~stuck] >= 0).all())
        assert bool((cells.size_up >= 0).all())
        assert bool((cells.size_down >= 0).all())

    def test_steps_are_finite_and_forward(self):
        cells = self.cells()
        for state in self.states_of(cells):
            for up in (True, False):
                step, spread = self.device.respond(cells, state, up)
                assert np.isfinite(step).all()
                assert np.isfinite(spread).all()
                size = (cells.size_up if up else cells.size_down).numpy()
                assert (step >= -1e-6 * size).all()  # slopes are rounded to float32
                assert (spread >= -1e-6 * size).all()

    def test_stuck_cells_never_step(self):
        cells = self.cells()
        stuck = (cells.low == cells.high).numpy()
        for up in (True, False):
            step, _ = self.device.respond(cells, cells.low.double().numpy(), up)
            assert (step[stuck] == 0).all()

    def test_number_of_states(self):
        low, high = self.device.mean_bounds
        assert (high - low) / self.device.granularity == pytest.approx(self.states, rel=1e-6)

    def test_twins_agree(self):
        """NumPy, torch and numba run the same text."""
        cells = self.cells()
        formula = type(self.device).formula
        state = self.states_of(cells)[-1]
        up = np.random.default_rng(2).random(SHAPE) < 0.5
        c = numbers(cells)
        size, shape = np.where(up, c.s_up, c.s_down), np.where(up, c.k_up, c.k_down)
        arguments = (state, up, size, shape, c.bmin, c.bmax)
        expected = np.stack(formula(*arguments, *self.device.constants))
        by_torch = twin(formula, "torch")(*map(torch.from_numpy, arguments), *self.device.constants)
        compiled = twin(formula, "numba")
        rows = zip(*(a.ravel().tolist() for a in arguments), strict=True)
        by_numba = np.array([compiled(*row, *self.device.constants) for row in rows]).T
        # Arithmetic in double precision; tables and torch's constants are in single.
        close = {"rtol": 1e-6, "atol": 1e-9 * float(size.max())}
        np.testing.assert_allclose(torch.stack(by_torch).numpy(), expected, **close)
        np.testing.assert_allclose(by_numba.reshape(2, *SHAPE), expected, **close)

    @pytest.mark.parametrize("up", [True, False])
    def test_gradients(self, up):
        """Fits go by gradient through the formula."""
        cell = self.device.mean_cell()
        formula = twin(type(self.device).formula, "torch")
        size, shape = (cell.size_up, cell.shape_up) if up else (cell.size_down, cell.shape_down)
        low, high = cell.low, cell.high
        state = low + (high - low) * torch.tensor([[0.13, 0.37, 0.83]], dtype=torch.float64)
        leaves = [t.detach().clone().requires_grad_() for t in (state, size, shape, low, high)]
        direction = torch.tensor(up)

        def steps(w, size, shape, low, high):
            step, spread = formula(w, direction, size, shape, low, high, *self.device.constants)
            return step + 0 * (w + size), spread + 0 * (w + size)

        assert torch.autograd.gradcheck(steps, leaves)

    def test_cells_depend_on_names_only(self):
        one, other = self.cells("a"), self.cells("b")
        torch.set_default_dtype(torch.float64)
        try:
            again = self.cells("a")
        finally:
            torch.set_default_dtype(torch.float32)
        for first, second in zip(one, again, strict=True):
            assert (first is None and second is None) or torch.equal(first, second)
        assert not torch.equal(one.size_up, other.size_up)

    def test_symmetry_point(self):
        """Both steps are equal there, and alternating mean pulses lead there from both bounds.

        Where a cell has none, they lead to a bound.
        """
        cells = self.cells()
        point = self.device.symmetry_point(cells)
        none = np.isnan(point)
        assert none.any() != self.symmetric
        low, high = cells.low.double().numpy(), cells.high.double().numpy()
        assert ((low <= point) & (point <= high))[~none].all()
        up, down = (self.device.respond(cells, point, u)[0] for u in (True, False))
        size = np.maximum(cells.size_up.numpy(), cells.size_down.numpy())
        assert (np.abs(up - down) <= 1e-6 * size)[~none].all()
        # `pairs` of pulses are enough for cells that move by this much.
        soon = np.minimum(cells.size_up.numpy(), cells.size_down.numpy()) > 0.02
        ends = [np.abs(self.difference(cells, state)) for state in (low, high)]
        to_bound = none & (np.minimum(*ends) > 0.004)
        assert soon.mean() > 0.8
        for state in (low, high):
            for _ in range(self.pairs):
                state = np.clip(state + self.device.respond(cells, state, True)[0], low, high)
                state = np.clip(state - self.device.respond(cells, state, False)[0], low, high)
            step = self.device.respond(cells, state, True)[0]
            assert (np.abs(state - point) <= 2 * step + 1e-6)[soon & ~none].all()
            way = np.minimum(state - low, high - state)
            assert (way <= 2 * step + 1e-6)[to_bound].all()

    def difference(self, cells: Devices, state: np.ndarray) -> np.ndarray:
        up, down = (self.device.respond(cells, state, u)[0] for u in (True, False))
        return up - down

    def test_survives_text(self):
        holder = Holder(device=self.device)
        for full in (True, False):
            again = Holder(**to_dict(holder, full=full))
            assert again == holder
            assert hash(again) == hash(holder)
            assert to_json(again) == to_json(holder)
        cell = Composed(g_max=1e-6, signed=True, device=self.device)
        assert Cell.select(to_dict(cell, full=False) | {"kind": "composed"}) == cell
