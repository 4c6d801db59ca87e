"""Export to AccelForge: the chip as its architecture, with the energies of this chip."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import SpecError
from ._chip import Chip
from ._constant import Scenario
from ._figures import Figures
from ._product import Product, area
from ._work import activation_bits


class _Tagged(dict[str, Any]):
    """A mapping with a YAML tag, such as !Memory."""

    tag = ""


class _Memory(_Tagged):
    tag = "!Memory"


class _Toll(_Tagged):
    tag = "!Toll"


class _Container(_Tagged):
    tag = "!Container"


class _Compute(_Tagged):
    tag = "!Compute"


class _Dumper(yaml.SafeDumper):
    """Writes the tags."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every mapping in full."""
        return True


def _written(dumper: yaml.SafeDumper, value: _Tagged) -> yaml.Node:
    return dumper.represent_mapping(value.tag, dict(value))


for _kind in (_Memory, _Toll, _Container, _Compute):
    _Dumper.add_representer(_kind, _written)


def write_accelforge(chip: Chip, path: str | Path, scenario: Scenario = "nominal") -> Path:
    """Write a chip as an AccelForge architecture: one `arch` with nodes from memory to cells.

    Energies are joules per value of the activations' bits, areas square meters, throughputs values
    per second; a core's time of one product limits its drivers and converters. What AccelForge has
    no place for stays behind: links that several transfers share, digital units, noise and drift.

    Source of the format: github.com/Accelergy-Project/accelforge, docs and
    examples/arches/compute_in_memory.

    Raises:
        SpecError: the path does not end in .yaml or .yml.
    """
    target = Path(path)
    if target.suffix not in (".yaml", ".yml"):
        raise SpecError(f"{target} must end in .yaml: AccelForge reads YAML.")
    text = yaml.dump(
        {"arch": {"nodes": nodes(chip, scenario)}}, Dumper=_Dumper, sort_keys=False, width=100
    )
    head = f"# A chip of {chip.core.count} cores of {chip.rows} x {chip.cols}, written by mho.\n"
    target.write_text(head + text, encoding="utf8")
    return target


def nodes(chip: Chip, scenario: Scenario) -> list[Any]:
    """Return the nodes of the architecture, outermost first."""
    number, space = Figures(chip, scenario), area(Figures(chip, scenario))
    bits, found = activation_bits(chip), []
    if chip.dram is not None:
        found.append(_memory("MainMemory", chip.dram.capacity, number, "dram", bits, "All"))
    keep = "~MainMemory" if found else "All"
    found.append(_memory("GlobalBuffer", chip.memory.capacity, number, "memory", bits, keep))
    speed = number("links.bandwidth") / bits
    link = bits * number("links.energy")
    found.append(_toll("Link", "All", "up_and_down", bits, link, speed, 0.0))
    found.append(_Container(name="Core", spatial=[{"name": "cores", "fanout": chip.core.count}]))
    return found + _core(number, space, bits)


def _core(number: Figures, space: dict[str, float], bits: int) -> list[Any]:
    """Return the nodes of a core: what it takes as a whole goes half on its rows and columns."""
    chip, count = number.chip, number.chip.core.count
    product = Product(number, chip.rows, chip.cols)
    energy, rate = product.energy, 1 / product.time
    whole = (energy["core"] + energy["other"]) / 2
    lanes = chip.core.local.lanes * chip.core.local.count
    converters = (space.get("converters", 0.0) + space.get("core", 0.0)) / count
    cells = chip.rows * chip.cols
    return [
        _toll("RowDriver", "input", "down", bits, (energy["drivers"] + whole) / chip.rows,
              chip.rows * rate, space.get("drivers", 0.0) / count),
        _toll("Converter", "output", "up", bits, (energy["converters"] + whole) / chip.cols,
              chip.cols * rate, converters),
        _toll("LocalDigital", "output", "up", bits, product.correction,
              lanes * number("core.local.clock") / product.codes,
              number("core.local.area") * chip.core.local.count),
        _Container(name="Column", spatial=[
            {"name": "columns", "fanout": chip.cols, "may_reuse": "input"}]),
        _Container(name="Row", spatial=[
            {"name": "rows", "fanout": chip.rows, "may_reuse": "output"}]),
        _Memory(name="Cell", size=chip.core.arrays * bits,
                area=space.get("cells", 0.0) / cells / count,
                tensors={"keep": "weight", "no_refetch_from_above": "weight"},
                leak_power=0, actions=[_action("read", 0.0), _action("write", 0.0)]),
        _Compute(name="AnalogMultiply", area=0, leak_power=0, actions=[
            _action("compute", energy["cells"] / cells, rate)]),
    ]  # fmt: skip


def _action(name: str, energy: float, throughput: float | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "energy": energy,
        "throughput": "inf" if throughput is None else throughput,
        "latency": 0,
    }


def _memory(name: str, size: int, number: Figures, path: str, bits: int, keep: str) -> _Memory:
    speed = number(f"{path}.bandwidth") / bits
    return _Memory(
        name=name, size=8 * size, bits_per_action=bits,
        area=number(f"{path}.area"), leak_power=number(f"{path}.idle"),
        tensors={"keep": keep, "may_keep": "All"},
        actions=[_action("read", bits * number(f"{path}.read"), speed),
                 _action("write", bits * number(f"{path}.write"), speed)],
    )  # fmt: skip


def _toll(
    name: str, tensors: str, direction: str, bits: int, energy: float, throughput: float,
    space: float,
) -> _Toll:  # fmt: skip
    return _Toll(
        name=name, tensors={"keep": tensors}, direction=direction, bits_per_action=bits,
        area=space, leak_power=0, actions=[_action("read", energy, throughput)],
    )  # fmt: skip
