"""The shelf of presets: YAML files, each with its source and what it was fitted on."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import PresetError
from ._codec import read_document
from ._messages import nearest


@dataclass(frozen=True)
class Document:
    """A hardware file: its fields and where its numbers come from."""

    name: str
    source: str
    fitted_on: str
    fields: dict[str, Any]


def _folder(name: str) -> dict[str, Path]:
    place = Path(str(files("mho") / "presets")) / name
    return {path.stem: path for path in sorted(place.glob("*.yaml"))}


def _shelf() -> dict[str, Path]:
    return _folder("") | _folder("chips")


def presets(folder: str = "") -> list[str]:
    """Return the names of hardware that `mho.load` knows, or those in a folder of the shelf."""
    return list(_folder(folder))


def document(name_or_path: str | Path) -> Document:
    """Read a preset by name, or a hardware file by path.

    Raises:
        PresetError: neither a preset nor a file, or the file is corrupt.
    """
    shelf, text = _shelf(), str(name_or_path)
    path = shelf.get(text)
    if path is None:
        path = Path(name_or_path)
        if not path.suffix and not path.exists():
            raise PresetError(
                f"no preset {text!r}{nearest(text, shelf)}; known presets: {', '.join(shelf)}. "
                "A file is named with its suffix, such as my.yaml."
            )
    fields = read_document(path)
    if text in shelf and not {"source", "fitted_on"} <= fields.keys():
        raise PresetError(
            f"preset {text!r} lacks `source` or `fitted_on`: its numbers have no origin."
        )
    source, fitted_on = fields.pop("source", ""), fields.pop("fitted_on", "")
    return Document(path.stem, str(source), str(fitted_on), fields)
