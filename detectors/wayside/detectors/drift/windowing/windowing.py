"""All keys of one detector: whose turn it is, how much they hold together, and which of them is given up.

Invariant: fates, windows and evictions are a function of the arrivals in the order of their positions, and of the
settings and limits: neither of when windows are asked for, nor of a clock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wayside.detectors.drift.settings import CountCut, WindowLimits, WindowSettings
from wayside.detectors.drift.windowing.ordered import EARLIEST_NS
from wayside.detectors.drift.windowing.series import KeyProgress, Series
from wayside.detectors.drift.windowing.snapshots import Snapshot
from wayside.detectors.drift.windowing.values import Arrival, Fate, Window, WindowKey
from wayside.eventing.errors import ConfigurationError

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Evicted:
    """A key that is given up: its last account, its complete windows that nobody asked for yet, and the positions of
    all arrivals that it held. An arrival that comes for it later begins it anew, at position 0."""

    progress: KeyProgress
    windows: Sequence[Window]
    spent: Sequence[int]

    @property
    def key(self) -> WindowKey:
        return self.progress.key


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What became of an arrival, and which keys were given up for it."""

    fate: Fate
    evicted: tuple[Evicted, ...] = ()


class Windowing:
    """The windows of all keys of one detector.

    Arrivals are taken in rising position. Raises `ConfigurationError` where the limits have no room for a window.
    """

    def __init__(self, settings: WindowSettings, limits: WindowLimits) -> None:
        if isinstance(settings.cut, CountCut) and settings.cut.rows > limits.key_rows:
            raise ConfigurationError(
                f"windows of {settings.cut.rows} rows, and room for {limits.key_rows} rows a key: raise the limit"
            )
        self._settings = settings
        self._limits = limits
        self._idle_ns = round(limits.idle_s * _NS)
        self._series: dict[WindowKey, Series] = {}
        self._ready: dict[WindowKey, None] = {}
        self._open_bytes = 0
        self._now_ns = EARLIEST_NS  # the latest time of any living key
        self._oldest_ns = EARLIEST_NS  # no living key's latest time is before it

    def take(self, arrival: Arrival, evicts: bool = True) -> Taken:
        """Fold an arrival in. `evicts` is False where a restart folds again what some key was restored from, and who
        was given up for it is known. Raises `ValueError`, and nothing changed, where its position is not after the last
        one of its key, it has no row, or rows of another width."""
        series = self._series.get(arrival.key) or Series(arrival.key, self._settings, self._limits)
        before = series.open_bytes
        fate = series.take(arrival)
        self._account(series, before)
        return Taken(fate, tuple(self._evicted(series)) if evicts else ())

    def _account(self, series: Series, before_bytes: int) -> None:
        """Note what a series has come to, be it a new one."""
        self._series[series.key] = series
        self._open_bytes += series.open_bytes - before_bytes
        self._now_ns = max(self._now_ns, series.latest_ns)
        self._oldest_ns = min(self._oldest_ns, series.latest_ns)
        if series.has_window:
            self._ready[series.key] = None

    def next_window(self, key: WindowKey) -> Window | None:
        """Cut the next complete window of a key, if it has one."""
        series = self._series.get(key)
        window = None if series is None else series.next_window()
        if series is None or not series.has_window:
            self._ready.pop(key, None)
        return window

    def ready(self) -> Sequence[WindowKey]:
        """The keys that have a complete window."""
        return tuple(self._ready)

    def spent(self, key: WindowKey) -> Sequence[int]:
        """Positions of a key's arrivals that no window needs any more (rows in windows, late, without room), since the
        last call."""
        series = self._series.get(key)
        return () if series is None else series.spent()

    def progress(self) -> Sequence[KeyProgress]:
        """How far each living key is."""
        return [series.progress() for series in self._series.values()]

    def __contains__(self, key: WindowKey) -> bool:
        """Whether the key lives."""
        return key in self._series

    def position(self, key: WindowKey) -> int:
        """That of the last arrival that was folded into a key. Raises `KeyError`."""
        return self._series[key].position

    def snapshot(self, key: WindowKey) -> bytes:
        """What a restart needs of a key besides its arrivals that are not spent. Raises `KeyError`."""
        return self._series[key].snapshot().to_bytes()

    def restore(self, key: WindowKey, snapshot: bytes, held: Iterable[Arrival]) -> None:
        """Begin a key where a snapshot left it. `held` are its arrivals up to the snapshot's position that are not
        spent, in any order. Raises `ValueError` where they do not fit, or the key has begun already."""
        if key in self._series:
            raise ValueError(f"{key} has begun already")
        series = Series(key, self._settings, self._limits)
        series.restore(Snapshot.of_bytes(snapshot), held)
        self._account(series, 0)

    def _evicted(self, taking: Series) -> Iterable[Evicted]:
        """Give up idle keys, and, but for the one that is being taken for, the idlest of too many."""
        if self._now_ns - self._oldest_ns > self._idle_ns:
            yield from self._evicted_idle()
        while len(self._series) > 1 and (
            len(self._series) > self._limits.keys or self._open_bytes > self._limits.all_bytes
        ):
            others = (each for each in self._series.values() if each is not taking)
            yield self._evict(min(others, key=_by_idleness), None)

    def _evicted_idle(self) -> Iterable[Evicted]:
        idle = [each for each in self._series.values() if self._now_ns - each.latest_ns > self._idle_ns]
        for series in sorted(idle, key=_by_idleness):
            yield self._evict(series, self._now_ns)
        self._oldest_ns = min(series.latest_ns for series in self._series.values())

    def _evict(self, series: Series, time_ns: int | None) -> Evicted:
        del self._series[series.key]
        self._ready.pop(series.key, None)
        self._open_bytes -= series.open_bytes
        if series.latest_ns == self._now_ns:
            self._now_ns = max(each.latest_ns for each in self._series.values())
        return Evicted(*series.end(time_ns))


def _by_idleness(series: Series) -> tuple[int, WindowKey]:
    return series.latest_ns, series.key
