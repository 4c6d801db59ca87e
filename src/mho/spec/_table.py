"""Plain-text tables for people."""

from collections.abc import Iterable, Sequence


class _Silent:
    """A file that keeps nothing: the console is asked for its record instead."""

    def write(self, text: str) -> int:
        """Drop the text."""
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def render_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], width: int = 120
) -> str:
    """Return a table as text, folded to `width` characters."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column, name in enumerate(header):
        table.add_column(name, overflow="fold", no_wrap=column == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(width=width, record=True, file=_Silent())  # pyright: ignore[reportArgumentType]
    console.print(table)
    return console.export_text().rstrip()
