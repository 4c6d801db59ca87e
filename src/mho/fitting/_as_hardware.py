"""A device as a hardware value, and as the file of one."""

from pathlib import Path

import yaml

from ..cells import Composed, Device
from ..mapping import Signed
from ..spec import to_yaml
from ..tiles import Hardware

G_MAX = 25e-6
"""Conductance at a weight of 1 where weights were measured: it only sets the scale of currents."""


def hardware_of(device: Device, g_max: float | None) -> Hardware:
    """Return ideal arrays of signed cells with a device."""
    cell = Composed(signed=True, g_max=G_MAX if g_max is None else g_max, device=device)
    return Hardware(cell=cell, mapping=Signed(scaling="tile"))


def yaml_of(hardware: Hardware, source: str, fitted_on: str, path: str | Path | None) -> str:
    """Return a hardware document with its origin, and write it to a file if one is named."""
    origin = yaml.safe_dump(
        {"source": source, "fitted_on": fitted_on}, sort_keys=False, allow_unicode=True, width=100
    )
    head, _, body = to_yaml(hardware).partition("\n")
    text = f"{head}\n{origin}{body}"
    if path is not None:
        Path(path).write_text(text, encoding="utf8")
    return text
