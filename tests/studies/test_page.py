"""The page about studies names what exists, and every strength."""

import re
from pathlib import Path

import mho
from mho.deploy import EFFECTS
from mho.studies._strength import STRENGTHS

PAGE = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf8")


def test_every_strength_and_every_effect_is_on_the_page():
    for strength in STRENGTHS.values():
        for path in strength.fields:
            assert f"`{path}`" in PAGE
    (table,) = re.findall(r"\| effect \| what is scaled \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    named = set()
    for line in table.splitlines():
        first, *others = line.split("|")[1].strip().split(", ")
        converter = first.split()[0]
        named |= {first, *others, *(f"{converter} {other}" for other in others)}
    assert {effect.name for effect in EFFECTS} <= named


def test_it_names_only_what_exists_and_its_code_is_python():
    names = set(re.findall(r"\bmho\.([a-zA-Z_.0-9]*[a-zA-Z_0-9])", PAGE))
    assert len(names) > 8
    for name in names:
        found = mho
        for part in name.split("."):
            found = getattr(found, part)
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        compile(block, "studies.md", "exec")
