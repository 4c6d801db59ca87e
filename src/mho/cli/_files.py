"""Functions in the user's own files, named as FILE.py:function."""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import typer


def function_of(reference: str, option: str) -> Callable[..., Any]:
    """Return the function that FILE.py:function names.

    Raises:
        typer.BadParameter: the text is not of that form, or no such file or function.
    """
    file, colon, name = reference.rpartition(":")
    if not colon or not name.isidentifier():
        raise typer.BadParameter(
            f"{reference!r} is not of the form FILE.py:function, such as model.py:build.",
            param_hint=option,
        )
    module = _module(Path(file), option)
    found = getattr(module, name, None)
    if callable(found):
        return found
    known = [n for n, value in vars(module).items() if inspect.isfunction(value) and n[0] != "_"]
    meant = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {meant[0]!r}?" if meant else ""
    raise typer.BadParameter(
        f"{file} has no function {name!r}; its functions: {', '.join(known) or 'none'}.{hint}",
        param_hint=option,
    )


def _module(path: Path, option: str) -> ModuleType:
    """Import a file by its own name, as files beside it and worker processes do."""
    if not path.is_file():
        raise typer.BadParameter(f"no such file: {path}", param_hint=option)
    if path.suffix != ".py" or "." in path.stem:
        raise typer.BadParameter(f"{path} is not a Python file NAME.py", param_hint=option)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:
        error.add_note(f"raised while {path} was imported ({option})")
        raise
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != path.resolve():
        raise typer.BadParameter(
            f"{path} has the name of another module ({origin or path.stem + ', built in'}): "
            "rename the file.",
            param_hint=option,
        )
    return module


def call(function: Callable[..., Any], reference: str, option: str) -> Any:
    """Call a user's function that takes no argument.

    Raises:
        typer.BadParameter: it takes arguments.
    """
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise typer.BadParameter(
            f"{reference} must be callable without arguments ({error}).", param_hint=option
        ) from None
    except ValueError:  # a class or builtin without a signature: calling it will tell
        pass
    try:
        return function()
    except Exception as error:
        error.add_note(f"raised by {reference} ({option})")
        raise
