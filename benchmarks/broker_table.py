"""The table of the broker's benchmark: figures beside their targets.

Invariant: pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. It is to be `at_least` or `at_most` so much; many are there only to be seen."""

    case: str
    figure: str
    value: float
    digits: int = 0
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:,.0f}"
        return "" if self.at_most is None else f"≤ {self.at_most:,.0f}"

    @property
    def verdict(self) -> str:
        if self.at_least is None and self.at_most is None:
            return ""
        is_met = self.value >= (self.at_least or self.value) and self.value <= (self.at_most or self.value)
        return "met" if is_met else "SHORT"


def table(title: str, rows: Sequence[Row]) -> Table:
    """A case's name stands once."""
    drawn = Table("case", "figure", title=title, title_justify="left")
    for column in ("value", "target"):
        drawn.add_column(column, justify="right")
    drawn.add_column("")
    last = ""
    for row in rows:
        if row.case != last and last:
            drawn.add_section()
        name = "" if row.case == last else row.case
        drawn.add_row(name, row.figure, f"{row.value:,.{row.digits}f}", row.target, row.verdict)
        last = row.case
    return drawn
