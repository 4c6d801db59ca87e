"""Progress bars on terminals, nothing elsewhere."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_hidden = 0


@contextmanager
def one_bar() -> Iterator[None]:
    """Show no further bars for a while: a terminal has room for one."""
    global _hidden
    _hidden += 1
    try:
        yield
    finally:
        _hidden -= 1


def progress(
    items: Iterable[T], description: str, total: int | None = None
) -> Generator[T, None, None]:
    """Yield the items and show how many are done; the bar vanishes at the end.

    Within another bar's items, none is shown.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = (console.is_terminal or console.is_jupyter) and not _hidden
    if not shown:
        yield from items
        return
    with one_bar():
        yield from track(items, description, total=total, console=console, transient=True)
