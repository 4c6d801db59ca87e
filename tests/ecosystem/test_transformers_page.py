"""The page on Hugging Face models runs from top to bottom."""

import re
from pathlib import Path

import pytest
import torch

import mho

from . import language  # noqa: F401  (no network, no progress bars)

PAGE = Path(__file__).parents[2] / "docs" / "transformers.md"


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set:UserWarning")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is:FutureWarning")
def test_the_examples_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf8"), flags=re.DOTALL)
    assert len(blocks) >= 8
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
    assert "14 matrices on" in capsys.readouterr().out
    assert namespace["trainer"].state.global_step == 4
    assert {site.crossbar.hardware for site in mho.sites(namespace["merged"])} == {
        namespace["six_bits"]
    }
