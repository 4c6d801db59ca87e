"""The examples of the page on chips run."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "chip.md"


def test_the_examples_of_the_page_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf8")
    namespace: dict[str, object] = {"__name__": "chip"}
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(code) == 2, "the page lost its examples"
    for block in code:
        exec(compile(block, "docs/chip.md", "exec"), namespace)  # asserts inside
    assert {path.name for path in tmp_path.iterdir()} == {"cost.png", "pareto.png"}


def test_the_page_names_files_and_fields_that_exist():
    from mho.chip import Chip

    text = PAGE.read_text(encoding="utf8")
    for figure in re.findall(r"\((figures/[^)]+)\)", text):
        assert (PAGE.parent / figure).is_file()
    named = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, flags=re.MULTILINE)
    fields = {name.strip("`") for row in named for name in row.split(", ")}
    assert fields == set(Chip.model_fields)
