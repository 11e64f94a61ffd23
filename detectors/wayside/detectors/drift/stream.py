"""Arrivals of rows in, judged windows out: windowing and judging in memory, for one detector and all keys.

Invariant: what comes out is a function of the judge's artifact and of the arrivals in their order, whoever asks:
`wayside score` and `wayside replay` give the verdicts that the service gives of the same arrivals, byte for byte.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.drift.windowing.series import KeyProgress
from wayside.detectors.drift.windowing.values import Arrival, Fate, Window, WindowKey
from wayside.detectors.drift.windowing.windowing import Evicted, Windowing
from wayside.detectors.kinds.protocol import NothingScored

if TYPE_CHECKING:
    from wayside.detectors.drift.judging.series import SeriesState


class WindowStream:
    """Judges each window as soon as it is complete, the windows of a key in their order.

    Raises `ConfigurationError` where the limits have no room for a window, and, while it judges, `NothingScored`; a
    window on which the judge fails otherwise is unjudged.
    """

    def __init__(self, judge: WindowJudge, limits: WindowLimits | None = None) -> None:
        self._judge = judge
        self._windowing = Windowing(judge.settings, limits or WindowLimits())
        self._states: dict[WindowKey, SeriesState] = {}
        self._ended: list[KeyProgress] = []
        self.fates = dict.fromkeys(Fate, 0)
        """How many arrivals met which fate."""

    def take(self, arrival: Arrival) -> Iterator[Judged]:
        """Fold an arrival in; judges the windows that it completes, one at a time as they are asked for.

        All of them have to be asked for before the next arrival is taken.
        """
        taken = self._windowing.take(arrival)
        self.fates[taken.fate] += 1
        for evicted in taken.evicted:
            yield from self._evict(evicted)
        for key in self._windowing.ready():
            while (window := self._windowing.next_window(key)) is not None:
                yield self._judged(window)
            self._windowing.spent(key)  # nothing is kept that arrivals would have to be kept for

    def run(self, arrivals: Iterable[Arrival]) -> Iterator[Judged]:
        """All of them in turn."""
        for arrival in arrivals:
            yield from self.take(arrival)

    def progress(self) -> Sequence[KeyProgress]:
        """How far each key is, those included that were given up."""
        return [*self._ended, *self._windowing.progress()]

    def _evict(self, evicted: Evicted) -> Iterator[Judged]:
        for window in evicted.windows:
            yield self._judged(window)
        self._states.pop(evicted.key, None)
        self._ended.append(evicted.progress)

    def _judged(self, window: Window) -> Judged:
        state = self._states.get(window.key) or self._judge.begin()
        try:
            judged = self._judge.judge(window, state)
        except NothingScored:
            raise
        except Exception as exc:  # as the service, which goes on with the next window
            judged = self._judge.give_up(window, state, exc)
        self._states[window.key] = judged.state
        return judged
