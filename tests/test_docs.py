"""The examples in the documentation run, and the pages name only what exists."""

import re
from pathlib import Path

import pytest
import torch
import yaml

import mho

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Fenced code blocks of one language."""
    text = (DOCS / page).read_text(encoding="utf8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def forgotten_kinds():
    """Take the kinds that a page defines out of their families again."""
    from mho.spec import Variant

    before = {name: dict(family.members) for name, family in Variant.families.items()}
    yield
    for name, members in before.items():
        family = Variant.families[name].members
        for kind in set(family) - set(members):
            del family[kind]


def test_the_worked_examples_of_extend_run_in_order(forgotten_kinds):
    namespace: dict[str, object] = {"__name__": "extend"}
    code = blocks("extend.md", "python")
    assert len(code) >= 5, "the page lost its examples"
    with torch.random.fork_rng(devices=[]):
        for block in code:
            exec(compile(block, "docs/extend.md", "exec"), namespace)  # asserts inside


def test_the_examples_of_training_run_in_order():
    namespace: dict[str, object] = {"__name__": "training"}
    code = blocks("training.md", "python")
    assert len(code) == 3, "the page lost its examples"
    for block in code:
        exec(compile(block, "docs/training.md", "exec"), namespace)  # asserts inside


def test_the_examples_of_wires_run_in_order():
    namespace: dict[str, object] = {"__name__": "wires"}
    code = blocks("wires.md", "python")
    assert len(code) == 2, "the page lost its examples"
    with torch.random.fork_rng(devices=[]):
        for block in code:
            exec(compile(block, "docs/wires.md", "exec"), namespace)  # asserts inside


def test_the_examples_of_combination_rules_run_in_order():
    namespace: dict[str, object] = {"__name__": "combination"}
    code = blocks("combination-rules.md", "python")
    assert len(code) == 4, "the page lost its examples"
    with torch.random.fork_rng(devices=[]):
        for block in code:
            exec(compile(block, "docs/combination-rules.md", "exec"), namespace)  # asserts inside


def test_the_examples_of_the_digital_unit_run_in_order():
    namespace: dict[str, object] = {"__name__": "digital_unit"}
    code = blocks("digital-unit.md", "python")
    assert len(code) == 2, "the page lost its examples"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in code:
            exec(compile(block, "docs/digital-unit.md", "exec"), namespace)  # asserts inside
    (document,) = blocks("digital-unit.md", "yaml")
    assert mho.FixedPoint(**yaml.safe_load(document)["digital"]).point == 5


def test_the_examples_of_converters_run_in_order():
    namespace: dict[str, object] = {"__name__": "converters"}
    code = blocks("converters.md", "python")
    assert len(code) == 4, "the page lost its examples"
    for block in code:
        exec(compile(block, "docs/converters.md", "exec"), namespace)  # asserts inside


def test_the_measured_device_of_extend_loads(tmp_path):
    (document,) = blocks("extend.md", "yaml")
    file = tmp_path / "my.yaml"
    file.write_text(document)
    hardware = mho.load(file)
    assert hardware.cell.programming.std.values == (0.4, 0.9, 1.2, 1.5)
    assert hardware.cell.drift.t0 == 60.0


@pytest.mark.parametrize(
    "page",
    ["index.md", "choose.md", "faq.md", "training.md", "devices.md", "programming.md"],
)
def test_pages_name_only_public_names_that_exist(page):
    text = (DOCS / page).read_text(encoding="utf8")
    names = set(re.findall(r"\bmho\.([a-z_A-Z]+)", text))
    assert names, "the page mentions no name of the library"
    assert not [name for name in names if not hasattr(mho, name)]


@pytest.mark.parametrize("page", ["index.md", "choose.md", "faq.md", "../README.md"])
def test_python_blocks_are_python(page):
    for block in blocks(page, "python"):
        compile(block, page, "exec")


def test_every_preset_is_in_the_choose_page():
    text = (DOCS / "choose.md").read_text(encoding="utf8")
    assert not [name for name in mho.presets() if f"`{name}`" not in text]


def test_the_reference_lists_every_public_name():
    listed = set(re.findall(r"^::: mho\.(\w+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE))
    door = (Path(mho.__file__)).read_text(encoding="utf8")
    exported = set(re.findall(r" as (\w+)$", door, flags=re.MULTILINE)) - {"_torch_nn"}
    defined = set(re.findall(r"^([a-z]\w*) = ", door, flags=re.MULTILINE))
    assert listed == exported | defined
