"""Figures side by side: ours, the agent's, their ratio, and what issue 6 asks of them; as text and as Markdown.

Invariant: nothing here measures; a figure that was not taken is None and shows as a dash.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLUMNS = ("case", "figure", "Wayside", "KServe's agent", "ratio", "target", "")
_LEFT = 2  # columns of words; the others are figures


@dataclass(frozen=True, slots=True)
class Target:
    """A bound of the ratio to the agent's figure, or (`of_ours`) of our figure alone."""

    bound: float
    at_least: bool = False
    of_ours: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{'' if self.of_ours else 'x'}"

    def judge(self, ours: float | None, agent: float | None) -> str:
        """`ok` or `short`; empty where a figure is missing."""
        value = ours if self.of_ours else ratio(ours, agent)
        if value is None:
            return ""
        return "ok" if (value >= self.bound if self.at_least else value <= self.bound) else "short"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one case; `digits` after the point. A difference is not `comparable`: its ratio says nothing."""

    case: str
    figure: str
    ours: float | None
    agent: float | None
    digits: int = 0
    target: Target | None = None
    comparable: bool = True


def ratio(ours: float | None, agent: float | None) -> float | None:
    """Ours over the agent's; None where one is missing or the agent's is 0."""
    return None if ours is None or not agent else ours / agent


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, one cell a column of `COLUMNS`."""
    times = ratio(row.ours, row.agent) if row.comparable else None
    figures = (_number(row.ours, row.digits), _number(row.agent, row.digits), _ratio_text(times))
    target = ("", "") if row.target is None else (str(row.target), row.target.judge(row.ours, row.agent))
    return (row.case, row.figure, *figures, *target)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def markdown(title: str, rows: Sequence[Row]) -> str:
    """A heading and a table; a case is named in its first row only."""
    rule = ["---"] * _LEFT + ["---:"] * (len(COLUMNS) - _LEFT)
    lines = [COLUMNS, rule, *(line for line in named_once(rows))]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def named_once(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Each row's cells, with the case left out where it is the one above's."""
    before = None
    for row in rows:
        first, *rest = cells(row)
        yield ("" if first == before else first, *rest)
        before = first


def summary(rows: Sequence[Row]) -> str:
    """How many targets are met, and which are not."""
    judged = [(row, row.target.judge(row.ours, row.agent)) for row in rows if row.target is not None]
    short = [f"{row.case}: {row.figure}" for row, verdict in judged if verdict == "short"]
    met = sum(verdict == "ok" for _, verdict in judged)
    words = f"{met} targets met, {len(short)} short, {len(judged) - met - len(short)} not judged"
    return "\n  short: ".join((words, *short))
