"""Arrivals of rows in, judged windows out: windowing and judging in memory, for one detector and all keys.

Invariant: what comes out is a function of the judge's artifact and of the arrivals in their order, whoever asks:
`wayside score` and `wayside replay` give the verdicts and alerts that the service gives of the same arrivals, byte for
byte, those of a key in the same order.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.drift.windowing.series import KeyProgress
from wayside.detectors.drift.windowing.values import Arrival, Fate, Window, WindowKey
from wayside.detectors.drift.windowing.windowing import Evicted, Windowing
from wayside.detectors.kinds.protocol import NothingScored
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told

if TYPE_CHECKING:
    from wayside.detectors.drift.judging.series import SeriesState

log = logging.getLogger("wayside.detectors.drift")
GIVEN_UP = "its key was given up: idle, or one too many"
"""Why an alert is resolved whose key is evicted."""
TRIES = 3
"""Of a window on which the judge fails."""
_FATES_OF_ROWS = ("in_windows", "open", "late", "overflow", "evicted")


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A key was given up: what is told of it last, the alert that was open, if one was, as resolved."""

    key: WindowKey
    alerts: tuple[CloudEvent, ...]


Said = Judged | Ended


class Streamed(NamedTuple):
    """What became of an arrival, and what is said for it, each as it is asked for."""

    fate: Fate
    said: Iterator[Said]


class WindowStream:
    """Judges each window as soon as it is complete, the windows of a key in their order.

    Raises `ConfigurationError` where the limits have no room for a window, and, while it judges, `NothingScored`; a
    window on which the judge fails otherwise is unjudged.
    """

    def __init__(self, judge: WindowJudge, limits: WindowLimits | None = None) -> None:
        self._judge = judge
        self._windowing = Windowing(judge.settings, limits or WindowLimits())
        self._states: dict[WindowKey, SeriesState] = {}
        self._ended: Counter[str] = Counter()  # rows of keys that were given up
        self._failures = 0

    def take(self, arrival: Arrival) -> Streamed:
        """Fold an arrival in; keys that it makes one too many end, then the windows that it completes are judged.

        All that is said has to be asked for before the next arrival is taken.
        """
        taken = self._windowing.take(arrival)
        return Streamed(taken.fate, self._said(arrival.key, taken.evicted))

    def run(self, arrivals: Iterable[Arrival]) -> Iterator[Judged]:
        """All of them in turn: their windows alone."""
        for arrival in arrivals:
            for said in self.take(arrival).said:
                if isinstance(said, Judged):
                    yield said

    def progress(self) -> Sequence[KeyProgress]:
        """How far each living key is."""
        return self._windowing.progress()

    def rows(self) -> Mapping[str, int]:
        """All rows by what became of them, those included whose keys were given up."""
        living = self.progress()
        return {name: self._ended[name] + sum(getattr(each, name) for each in living) for name in _FATES_OF_ROWS}

    def _said(self, key: WindowKey, evicted: Iterable[Evicted]) -> Iterator[Said]:
        for each in evicted:
            yield from self._end(each)
        for ready in self._windowing.ready():
            while (window := self._windowing.next_window(ready)) is not None:
                yield self._judged(window)
        self._windowing.spent(key)  # nothing is kept that arrivals would have to be kept for

    def _end(self, evicted: Evicted) -> Iterator[Said]:
        for window in evicted.windows:
            yield self._judged(window)
        at = evicted.progress
        self._ended.update({name: getattr(at, name) for name in _FATES_OF_ROWS})
        state = self._states.pop(evicted.key, None)
        if state is not None:
            yield Ended(evicted.key, self._judge.end(state, at.watermark_ns, GIVEN_UP))

    def _judged(self, window: Window) -> Judged:
        state = self._states.get(window.key) or self._judge.begin()
        judged = self._tried(window, state)
        self._states[window.key] = judged.state
        return judged

    def _tried(self, window: Window, state: "SeriesState") -> Judged:
        """As the service, which tries again what may pass, and then goes on with the next window."""
        tries = 0
        while True:
            try:
                return self._judge.judge(window, state)
            except NothingScored:
                raise
            except Exception as exc:  # whatever a detector does: no window may end all that follow
                tries += 1
                if tries == TRIES:
                    self._note_failure(window.key)
                    return self._judge.give_up(window, state, exc)

    def _note_failure(self, key: WindowKey) -> None:
        self._failures += 1
        if is_told(self._failures):
            log.exception("a window of %s is given up as unjudged", key)
