"""Scores a table offline as a stream of windows: the windowing, the judge and the alerts of the service, in memory.

Invariant: verdicts are those of `WindowStream` on the table's rows in their order; every row is in a window, late, or
still open at the end, and counted so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.stream import WindowStream
from wayside.detectors.drift.windowing.series import KeyProgress
from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.scoring.arrivals import DEFAULT_SPACING_S, arrivals_of, times_of
from wayside.detectors.scoring.detection import Detection, Ranges
from wayside.detectors.scoring.score_lines import Write
from wayside.detectors.scoring.window_lines import ScoredWindow, rows_of
from wayside.eventing.vocabulary import ALERT_OPENED


@dataclass(frozen=True, slots=True, eq=False)
class WindowsScored:
    """What came of a table: its windows' outcomes and rows, the false alarms that were to be expected, alerts that were
    opened; and how many of its rows are in windows, late, and still open."""

    outcomes: tuple[str, ...]
    ranges: tuple[Ranges, ...]
    expected_false_alarms: float
    alerts: int
    in_windows: int
    late: int
    open: int

    def detection(self, drifted: NDArray[np.bool_]) -> Detection:
        """How well it told the rows that drifted, shape (n,), from those that did not."""
        return Detection.of(drifted, self.ranges, [outcome == "drift" for outcome in self.outcomes])

    def lines(self) -> list[str]:
        """For people."""
        counts = {outcome: self.outcomes.count(outcome) for outcome in ("drift", "unjudged")}
        rest = [f"{self.late} late"] * bool(self.late) + [f"{self.open} open at the end"] * bool(self.open)
        return [
            f"{len(self.outcomes)} windows, {counts['drift']} drifted; {self.expected_false_alarms:.3g} false alarms"
            f" are to be expected where nothing drifts; {self.alerts} alerts opened",
            *([f"{counts['unjudged']} windows could not be judged"] if counts["unjudged"] else []),
            f"{self.in_windows} rows in windows{''.join(f', {each}' for each in rest)}",
        ]


def score_windows(
    judge: WindowJudge,
    coded: Matrix,
    time_s: Vector | None,
    write: Write,
    spacing_s: float = DEFAULT_SPACING_S,
) -> WindowsScored:
    """Judge coded rows, shape (n, columns), in their order, and write a line a window as it goes."""
    stream = WindowStream(judge)
    times_ns = times_of(len(coded), time_s, spacing_s)
    arrivals = arrivals_of(judge.identity.name, coded, times_ns, judge.settings)
    with threadpool_limits(1, "blas"):  # as a service has it: with more, a product's last digits are others
        judged = list(_written(stream.run(arrivals), write, are_timed=time_s is not None))
    return _scored(judged, stream.progress())


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    outcome: str
    ranges: Ranges
    total: float
    opened: int


def _written(judged: Iterable[Judged], write: Write, *, are_timed: bool) -> Iterator[_Outcome]:
    for number, each in enumerate(judged):
        write([ScoredWindow.of(number, each, are_timed)])
        opened = sum(alert.type == ALERT_OPENED for alert in each.alerts)
        yield _Outcome(each.outcome, rows_of(each.members), each.state.total, opened)


def _scored(judged: list[_Outcome], progress: Iterable[KeyProgress]) -> WindowsScored:
    keys = list(progress)
    return WindowsScored(
        tuple(each.outcome for each in judged),
        tuple(each.ranges for each in judged),
        judged[-1].total if judged else 0.0,
        sum(each.opened for each in judged),
        sum(key.in_windows for key in keys),
        sum(key.late for key in keys),
        max(0, sum(key.open for key in keys) - 1),  # without the row that settled all before it
    )
