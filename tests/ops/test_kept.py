"""Compiled kernels are taken from disk where nothing has changed, and from nowhere else."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mho.cells import ConstantStep, PowerStep, SoftBounds
from mho.ops import _kept as module

OPS, TESTS = Path(module.__file__).parent, Path(__file__).parent.parent
FORMULA = '''
def step(w, up, size, shape, low, high, cycle):
    """Step falls towards the bound."""
    step = size * (1.0 - {factor} * w)
    return step, cycle * step
'''


def imported(name: str) -> set[str]:
    """Files of the package that one of its files imports."""
    found = set()
    for node in ast.walk(ast.parse((OPS / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_the_digest_is_of_everything_that_kernels_are_compiled_from():
    """But for the words of Triton, which has a cache of its own."""
    files = {file.stem for file in OPS.glob("_*.py")} - {"__init__"}
    reached, left = set(), {name for name in files if "_kept" in imported(name)}
    while left:
        name = left.pop()
        reached.add(name)
        left |= imported(name) - reached - {"_triton_words"}
    assert reached == set(module.SOURCES)


def made(text: str, name="step"):
    space: dict = {}
    exec(text, space)
    return space[name]


def test_digests_differ_where_formulas_do():
    one = module.digest(made(FORMULA.format(factor=0.5)))
    assert one == module.digest(made("\n\n" + FORMULA.format(factor=0.5)))
    assert one != module.digest(made(FORMULA.format(factor=0.25)))
    assert one != module.digest(made(FORMULA.format(factor=0.5).replace("1.0 -", "1.0 +")))
    responses = [ConstantStep.formula, PowerStep.formula, SoftBounds.formula]
    assert len({module.digest(f) for f in responses}) == 3
    assert module.digest(*responses[:2]) != module.digest(*responses[1::-1])
    assert module.digest(responses[0]) != module.digest(responses[0], responses[0])


def twice(values):
    """Double an array in place."""
    for k in range(len(values)):
        values[k] *= 2


def test_without_a_folder_kernels_are_compiled_anyway(monkeypatch):
    plain = module.njit

    def nowhere(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return plain(**options)

    monkeypatch.setattr(module, "njit", nowhere)
    values = np.arange(3.0)
    module.kept(twice)(values)
    assert values.tolist() == [0, 2, 4]


@pytest.mark.slow
def test_processes_share_what_one_has_compiled(tmp_path):
    """Two start together, a third finds it done, and a changed formula is compiled anew."""
    formula, folder = tmp_path / "measured_step.py", tmp_path / "cache"
    folder.mkdir()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(TESTS)}
    script = str(Path(__file__).parent / "compiled_once.py")

    def start(number):
        command = [sys.executable, script, str(formula), str(tmp_path / f"{number}.pt")]
        return subprocess.Popen(command, env=environment)

    def result(number):
        return torch.load(tmp_path / f"{number}.pt")

    def kernels():
        return [f for f in folder.rglob("*.nbi") if "measured_step" in f.name]

    formula.write_text(FORMULA.format(factor=0.5))
    assert [p.wait() for p in [start(0), start(1)]] == [0, 0]
    assert start(2).wait() == 0
    (first, *counts), (second, *_), (third, *hit) = (result(n) for n in range(3))
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    assert sum(counts) == 1
    assert hit == [1, 0]
    assert len(kernels()) == 1
    formula.write_text(FORMULA.format(factor=0.9))
    assert start(3).wait() == 0
    changed, *compiled = result(3)
    assert compiled == [0, 1]
    assert float((changed - first).abs().max()) > 0.1
    assert len(kernels()) == 1  # what was left of the earlier formula is gone
