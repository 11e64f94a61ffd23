"""What `wayside score` writes of a window detector: a line a window.

Invariant: every window of the data has one line, in order; what was not judged says why and has no decision.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

from wayside.detectors.drift.judging.judge import Judged
from wayside.eventing.window_verdict import RowRange, read_window_verdict


class ScoredWindow(NamedTuple):
    """One window by its number from 0: `rows` of the stream from `first` up to `end`, and where rows have times, those
    it spans. `level` is what it could spend; of a window that drifted `drifted` names the features that say so by
    themselves, `moved` those that moved most, whether or not by more than chance would; `error` says why there is no
    decision."""

    window: int
    first: int
    end: int
    from_time: str | None
    to_time: str | None
    statistic: float | None
    p_value: float | None
    level: float
    decision: bool | None
    drifted: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def of(cls, number: int, judged: Judged, are_timed: bool) -> Self:
        """The line of a verdict; where rows have no times, those that stand for them are not told."""
        verdict = read_window_verdict(judged.verdict)
        stretch = verdict.stretch if are_timed else None
        return cls(
            number,
            verdict.first,
            verdict.end,
            None if stretch is None else stretch.start,
            None if stretch is None else stretch.end,
            verdict.distance,
            verdict.p_value,
            verdict.threshold,
            verdict.is_drift if verdict.is_judged else None,
            tuple(feature.name for feature in verdict.findings.features if feature.is_drift),
            tuple(feature.name for feature in verdict.findings.features),
            verdict.error,
        )


def rows_of(members: Sequence[RowRange]) -> list[tuple[int, int]]:
    """The rows of the data that a window was made of, as ranges: the events of `arrivals_of` are named by their first
    row."""
    return [(int(part.id) + part.first_row, int(part.id) + part.end_row) for part in members]
