"""Progress bars on terminals, nothing elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show how many are done; the bar vanishes at the end."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = console.is_terminal or console.is_jupyter
    yield from track(
        items, description, total=total, console=console, transient=True, disable=not shown
    )
