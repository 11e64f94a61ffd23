"""Grids of figures: as Markdown, as a table on a terminal, and in their places in docs/detectors.md.

Invariant: pure but for `write`, which changes nothing outside the markers `<!-- table: NAME -->` and `<!-- end -->`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

DOCUMENT = Path(__file__).parents[1] / "docs" / "detectors.md"
_END = "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells as text: the columns' names, and lines of as many. `note` says how they were taken."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """The first column to the left, the others to the right."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        text = "".join(f"| {' | '.join(line)} |\n" for line in (self.columns, rule, *self.lines))
        return f"{text}\n{self.note}\n" if self.note else text

    def drawn(self, title: str) -> Table:
        """For a terminal."""
        table = Table(title=title, title_justify="left", caption=self.note, caption_justify="left")
        for at, column in enumerate(self.columns):
            table.add_column(column, justify="left" if at == 0 else "right")
        for line in self.lines:
            table.add_row(*line)
        return table


def number(value: float | None, digits: int = 0) -> str:
    """A figure as text; a dash where it was not taken."""
    return "-" if value is None else f"{value:,.{digits}f}"


def insert(document: str, name: str, text: str) -> str:
    """The document with the text in its place. Raises `SystemExit` where there is no such place."""
    start = f"<!-- table: {name} -->"
    before, found, rest = document.partition(start)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise SystemExit(f"bench: the document has no place for table {name!r}: give it the lines {start} and {_END}")
    return f"{before}{start}\n{text}{_END}{after}"


def write(grids: Mapping[str, Grid], path: Path = DOCUMENT) -> None:
    """Put the grids into their places in the document."""
    document = path.read_text(encoding="utf-8")
    for name, grid in grids.items():
        document = insert(document, name, grid.markdown())
    path.write_text(document, encoding="utf-8")
