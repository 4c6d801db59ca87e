"""Line resistance: mho's solvers against other ways to solve the same network.

Rows and columns have segments of one resistance, which is also that of drivers and grounds; cells
are uniform random numbers up to 1 in units where the ratio is the resistance of a segment over the
smallest of a cell. Contenders for one vector solve for it alone; those for many vectors make the
array's matrix once and multiply. The damped fixed point knows lambda_max, so that its damping is
right from the start, and stops at an error of 1e-3 of full scale, as in CrossSim; for many vectors
its time for 4 of them is scaled up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from .races import Limit
from .report import verdict
from .timing import paired

SIZES = (64, 128, 256)
RATIOS = (1e-4, 1e-3, 3e-3)
VECTORS = 10_000
FEW = 4
MOST_STEPS = 2000


@dataclass(frozen=True)
class Network:
    """A square array and the vectors on it, as every contender likes them."""

    g: np.ndarray
    ratio: float
    v: np.ndarray

    def tensors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Conductances (columns, rows) and vectors (n, rows)."""
        return torch.from_numpy(self.g.T.copy()).to(dtype), torch.from_numpy(self.v).to(dtype)


def tables(pairs: int) -> list[Table]:
    """All comparisons; `pairs` is for the product after programming."""
    return [_one_vector(), _many_vectors(), _after_programming(pairs)]


def _lines(ratio: float) -> Any:
    from mho.ops import Lines

    return Lines(ratio, ratio, ratio, ratio)


def sweep(network: Network) -> np.ndarray:
    """The exact sweep of mho in single precision, then a product."""
    from mho.ops import wire_currents

    g, v = network.tensors(torch.float32)
    return (v @ wire_currents(g, _lines(network.ratio)).T).numpy()


def iterations(network: Network) -> np.ndarray:
    """Conjugate gradients of mho in single precision."""
    from mho.ops import vector_currents

    g, v = network.tensors(torch.float32)
    return vector_currents(g[None], v[None], _lines(network.ratio))[0].numpy()


def _assembled(network: Network) -> Any:
    from scipy.sparse import coo_matrix

    g, siemens = network.g, 1 / network.ratio
    u = np.arange(g.size).reshape(g.shape)
    w = u + g.size
    at, to, value = [u[:, 0], w[-1]], [u[:, 0], w[-1]], [np.full(len(g), siemens)] * 2
    for a, b, c in (
        (u, w, g),
        (u[:, :-1], u[:, 1:], np.full((len(g), len(g) - 1), siemens)),
        (w[:-1], w[1:], np.full((len(g) - 1, len(g)), siemens)),
    ):
        a, b, c = a.ravel(), b.ravel(), c.ravel()
        at, to, value = [*at, a, b, a, b], [*to, a, b, b, a], [*value, c, c, -c, -c]
    entries = (np.concatenate(value), (np.concatenate(at), np.concatenate(to)))
    return coo_matrix(entries).tocsc(), u[:, 0], w[-1]


def sparse(network: Network) -> np.ndarray:
    """SciPy's sparse LU (SuperLU), in double precision."""
    from scipy.sparse.linalg import splu

    matrix, first, last = _assembled(network)
    few = len(network.v) < len(first)
    drives = network.v.T if few else np.eye(len(first))
    right = np.zeros((drives.shape[1], matrix.shape[0]))
    right[:, first] = drives.T / network.ratio
    factors = splu(matrix)  # one right side at a time is fastest, by far where caches are small
    found = np.stack([factors.solve(each)[last] for each in right], axis=1) / network.ratio
    return found.T if few else network.v @ found.T


def fixed_point(network: Network) -> np.ndarray:
    """The damped iteration on cell voltages, to 1e-3 of full scale; nan where it takes too long."""
    from mho.ops import lambda_max

    g, ratio = network.g, network.ratio
    largest = float(lambda_max(network.tensors(torch.float64)[0], _lines(ratio)))
    damping = min(1.0, 1.9 / (1 + largest))
    applied = np.broadcast_to(network.v[:, :, None], (len(network.v), *g.shape))
    x = applied.copy()
    for _ in range(MOST_STEPS):
        current = g * x
        along = np.cumsum(np.cumsum(current[:, :, ::-1], 2)[:, :, ::-1], 2)
        down = np.cumsum(np.cumsum(current, 1)[:, ::-1], 1)[:, ::-1]
        error = applied - ratio * (along + down) - x
        if np.abs(error).max() < 1e-3:
            return (g * x).sum(1)
        x += damping * error
    return np.full((len(network.v), len(g)), np.nan)


def badcrossbar(network: Network) -> np.ndarray:
    """badcrossbar, which assembles and solves in Python and SciPy."""
    import badcrossbar as peer  # pyright: ignore[reportMissingImports]

    few = len(network.v) < len(network.g)
    drives = network.v if few else np.eye(len(network.g))
    found = np.asarray(peer.compute(drives.T, 1 / network.g, network.ratio).currents.output)
    return found if few else network.v @ found


def _timed(run: Callable[[Network], np.ndarray], network: Network) -> tuple[float, np.ndarray]:
    start = time.process_time()
    found = run(network)
    return time.process_time() - start, found


def _network(size: int, ratio: float, vectors: int) -> Network:
    rng = np.random.default_rng(size)
    return Network(rng.uniform(0.01, 1, (size, size)), ratio, rng.random((vectors, size)))


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("cells", "ratio", "lambda_max", "contender", "s", "mho is faster by", "error"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    return table


def _compare(
    table: Table, size: int, ratio: float, ours: Callable[[Network], np.ndarray], vectors: int
) -> None:
    """Add the rows of one network; times are those of the processor, contenders taking turns."""
    from mho.ops import lambda_max

    network, few = _network(size, ratio, vectors), _network(size, ratio, min(vectors, FEW))
    contenders = {"mho": (ours, network), "SciPy's sparse LU": (sparse, network)}
    contenders["damped fixed point"] = (fixed_point, few)
    if find_spec("badcrossbar") is not None:
        contenders["badcrossbar"] = (badcrossbar, network)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, np.ndarray] = {}
    ours(network)  # first use of a library is not what is compared
    for _ in range(3 if size < 256 else 1):
        for name, (run, data) in contenders.items():
            seconds, results[name] = _timed(run, data)
            times[name].append(seconds)
    largest = float(lambda_max(network.tensors(torch.float64)[0], _lines(ratio)))
    exact, base = results["SciPy's sparse LU"], median(times["mho"])
    for name, (_run, data) in contenders.items():
        seconds = median(times[name]) * vectors / len(data.v)
        expected = exact[: len(data.v)]
        error = float(np.abs(results[name] - expected).max() / np.abs(expected).max())
        lost = np.isnan(error)
        table.add_row(
            f"{size} x {size}", f"{ratio:g}", f"{largest:.2g}", name,
            f"> {seconds:.3g}" if lost else f"{seconds:.3g}",
            "" if name == "mho" else f"{seconds / base:.1f}",
            f"not in {MOST_STEPS} steps" if lost else f"{error:.1e}",
        )  # fmt: skip


def _one_vector() -> Table:
    table = _table("One vector on an array with wires: mho iterates for it")
    for size in SIZES:
        for ratio in RATIOS:
            _compare(table, size, ratio, iterations, 1)
    return _with_hint(table)


def _many_vectors() -> Table:
    table = _table(f"{VECTORS:,} vectors: mho sweeps once and multiplies")
    for size in SIZES:
        for ratio in RATIOS:
            _compare(table, size, ratio, sweep, VECTORS)
    return _with_hint(table)


def _with_hint(table: Table) -> Table:
    if find_spec("badcrossbar") is None:
        table.caption = "badcrossbar is not installed here: `make bench-peers` adds it."
    return table


def _after_programming(pairs: int) -> Table:
    """Time a product of a programmed layer with wires and without."""
    import mho

    def programmed(wires: dict[str, Any] | None) -> nn.Module:
        torch.manual_seed(0)
        layer = nn.Linear(256, 256)
        hardware = mho.Hardware(
            cell="pcm-joshi-2020",
            array={"rows": 256, "cols": 256, "wires": wires},
            dac={"bits": 8, "range": {"kind": "fixed", "value": 4.0}},
            adc={"bits": 8, "bound": 10},
        )
        mho.convert(layer, hardware)
        mho.program(layer, seed=1)
        return layer.eval()

    wired, plain = programmed({"kind": "resistive", "row": 1.0, "column": 1.0}), programmed(None)
    table = Table(title="A product of a programmed layer of 256 x 256", title_justify="left")
    for heading in ("vectors", "with wires, ms", "without, ms", "ratio", "of fastest", "limit"):
        table.add_column(heading, justify="right")
    with torch.no_grad():
        for vectors in (1, 64, 1024):
            x = torch.randn(vectors, 256)
            times = paired(lambda x=x: wired(x), lambda x=x: plain(x), pairs)
            milliseconds = (f"{median(t) * 1e3:.2f}" for t in (times.subject, times.baseline))
            limit = verdict(Limit(1.1), times.ratio)
            table.add_row(
                str(vectors), *milliseconds, f"{times.ratio:.2f}", f"{times.fastest:.2f}", limit
            )
    return table
