"""The examples: digital scores are the measured ones, and chips program, age and recover sensibly.

Each test runs the example's own `main`, as a person would. g2p runs always, since `make test` installs
its data; the others run where `make data` has installed theirs.
"""

import gzip
import hashlib
import importlib
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import mho

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import _data  # noqa: E402  (found in the folder just named)

WORDS, CHIPS = 300, 3


def run(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, mho.Result]:
    """Run an example's `main`; return its results by compensation."""
    example: ModuleType = importlib.import_module(name)
    evaluate, results = mho.evaluate, {}

    def record(*args, compensation, **options):
        results[compensation] = evaluate(*args, compensation=compensation, **options)
        return results[compensation]

    monkeypatch.setattr(mho, "evaluate", record)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    example.main()
    return results
