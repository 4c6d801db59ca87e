"""A command that runs in this process, and a user's files."""

import importlib
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mho.cli._app import app

MODEL = """
import torch
from torch import nn

def build():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

def number():
    return 7

def wants_more(size):
    return build()

def fails():
    raise KeyError("weights.pt")

class Net(nn.Linear):
    pass
"""

DATA = """
import torch
from user_model import build

x = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
y = build()(x).argmax(1)

def score(model):
    with torch.no_grad():
        return (model(x).argmax(1) == y).double().mean()

def load():
    return [x], score

def generator():
    return iter([x[:32], x[32:]]), score

def bare():
    return score

def tensor():
    return x, score

def swapped():
    return score, [x]

def empty():
    return [], score
"""


@pytest.fixture
def run():
    """Run the command with arguments; return its exit code, output and errors."""

    def run(*arguments: object) -> SimpleNamespace:
        result = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="mho")
        # Messages are boxed and folded to the terminal's width.
        words = " ".join(result.stderr.replace("│", " ").split())
        return SimpleNamespace(
            code=result.exit_code, out=result.stdout, err=words, exception=result.exception
        )

    return run


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a user's model and data, forgotten by Python afterwards."""
    known, path = set(sys.modules), list(sys.path)
    (tmp_path / "user_model.py").write_text(MODEL)
    (tmp_path / "user_data.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()
