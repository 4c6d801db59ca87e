"""The driver for GPUs, without one: run by Triton's interpreter, and compiled to machine code."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mho.ops import Trains, pulse

from .responses import KEY, NAMES, STEP, SUITES, case, rounding
from .test_pulse_kernels import literal

triton = pytest.importorskip("triton", reason="Triton is installed on Linux only")
TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Every response's cells after their pulses, and the cases."""
    folder = tmp_path_factory.mktemp("triton")
    # Seventy cells: one block that is full and one that is not.
    cases = [case(suite, shape=(5, 14), n=3, sparse=4) for suite in SUITES]
    torch.save([(c.device, c.fresh(), c.trains, (STEP, KEY)) for c in cases], folder / "cases.pt")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(TESTS)}
    command = [sys.executable, str(Path(__file__).parent / "interpreted.py")]
    files = [str(folder / name) for name in ("cases.pt", "results.pt")]
    done = subprocess.run([*command, *files], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(NAMES, zip(cases, torch.load(files[1]), strict=True), strict=True))


@pytest.mark.parametrize("suite", SUITES, ids=NAMES)
def test_interpreted_kernel_is_the_literal_loop(suite, interpreted):
    given, (state, up, down) = interpreted[suite.__name__.removeprefix("Test")]
    expected, ups, downs = literal(given, suite)
    assert np.array_equal(up.numpy(), ups.sum(0))
    assert np.array_equal(down.numpy(), downs.sum(0))
    pulses = (ups + downs).sum(0)
    assert pulses.sum() > 20
    error = np.abs(state.double().numpy() - expected)
    assert (error <= rounding(given, pulses)).all()


@pytest.mark.parametrize("name", ["SoftBounds", "PowerStep", "PiecewiseStep", "HiddenStep"])
def test_interpreted_kernel_agrees_with_numba(name, interpreted):
    given, (state, up, down) = interpreted[name]
    cells, counters = given.fresh(), given.counters()
    formula = type(given.device).formula
    landing = type(given.device).landing
    pulse(formula, cells, given.device.constants, given.trains, (STEP, KEY), *counters, landing)
    assert torch.equal(up, counters[0])
    assert torch.equal(down, counters[1])
    error = (state - cells.state).abs().double().numpy()
    assert (error <= rounding(given, (up + down).numpy())).all()


FORMULAS = {type(suite.device).formula: suite for suite in SUITES}


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("suite", FORMULAS.values(), ids=lambda s: s.__name__.removeprefix("Test"))
def test_compiles_to_machine_code(suite, capability, tmp_path, monkeypatch):
    """Of the A100 and of the H100, for every formula, tables included; no GPU is needed."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mho.ops import _triton_kernels as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    device = suite.device
    reals, words, number = "*fp32", "*i32", "i64"
    signature = {
        "cells": (reals,) * 7,
        "constants": tuple((reals, "i32") if np.ndim(c) else "fp32" for c in device.constants),
        "trains": (words,) * len(Trains._fields),
        "up": words, "down": words, "n": "i32", "rows": "i32", "size": "i32",
        "step": number, "key0": number, "key1": number,
    }  # fmt: skip
    names = ("formula", "landing", "random_words", "normals", "block")
    response = type(device)
    values = (*kernels.compiled(response.formula, response.landing), kernels.BLOCK)
    source = ASTSource(
        kernels.drive,
        signature=signature | dict.fromkeys(names, "constexpr"),
        constexprs=dict(zip(names, values, strict=True)),
    )
    options = {"num_warps": 1, "enable_fp_fusion": False}
    binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert binary.asm["cubin"][:4] == b"\x7fELF"
    assert f".target sm_{capability}" in binary.asm["ptx"]
