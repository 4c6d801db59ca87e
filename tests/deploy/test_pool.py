"""Worker processes: what they find, and what they leave alone."""

import sys
from importlib import import_module

import pytest

from mho.deploy._pool import pooled


@pytest.mark.slow
def test_workers_that_run_already_find_modules_of_folders_that_were_added_since(
    tmp_path, monkeypatch
):
    assert pooled(abs, [(-1,), (-2,)], "before", 2) == [1, 2]
    (tmp_path / "added_since.py").write_text("def half(x):\n    return x / 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    half = import_module("added_since").half
    assert pooled(half, [(1,), (2,)], "after", 2) == [0.5, 1.0]
    del sys.modules["added_since"]
