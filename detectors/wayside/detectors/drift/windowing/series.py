"""One key: its rows behind the watermark and in order, how far they are cut, and what became of the rest.

Invariant: rows that came = rows that are done with + open rows + late rows + rows there was no room for; all of it, and
every window, is a function of the arrivals in their order, whenever windows are asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.drift.settings import CountCut, SpanCut, WindowLimits, WindowSettings
from wayside.detectors.drift.windowing.cuts import Extent, cuts_of
from wayside.detectors.drift.windowing.ordered import EARLIEST_NS, Moment, OrderedRows, Part
from wayside.detectors.drift.windowing.snapshots import Snapshot
from wayside.detectors.drift.windowing.values import Arrival, Fate, Window, WindowKey
from wayside.eventing.window_verdict import RowRange

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class KeyProgress:
    """How far a key is, in rows: `rows` = `in_windows` + `open` + `late` + `overflow` + `evicted`.

    `in_windows` are those that no window to come holds. `windows` were cut, `empty_windows` spans had no row.
    `hurried` arrivals moved the watermark up for want of room. `position` is that of the last arrival. The next window
    lacks `needed_rows`, or, where windows are spans, is complete once the watermark is at `closes_ns`.
    """

    key: WindowKey
    position: int
    rows: int
    in_windows: int
    open: int
    late: int
    overflow: int
    evicted: int
    windows: int
    empty_windows: int
    hurried: int
    needed_rows: int
    watermark_ns: int | None
    closes_ns: int | None


class Series:
    """The windows of one key, from its first arrival on."""

    def __init__(self, key: WindowKey, settings: WindowSettings, limits: WindowLimits) -> None:
        self.key = key
        self._cut = settings.cut
        self._lateness_ns = round(settings.lateness_s * _NS)
        self._limits = limits
        self._rows = OrderedRows()
        self._cuts = cuts_of(settings.cut)
        self._spent: list[int] = []
        self._late = self._overflow = self._hurried = self._windows = 0
        self._columns = 0
        self.position = -1
        self.latest_ns = EARLIEST_NS
        self.open_rows = 0

    @property
    def open_bytes(self) -> int:
        """What the rows take that are in no complete window."""
        return self.open_rows * self._columns * 8

    @property
    def has_window(self) -> bool:
        """Whether a window is complete that was not asked for yet."""
        return self._cuts.next(self._rows) is not None

    def take(self, arrival: Arrival) -> Fate:
        """Fold an arrival in. Raises `ValueError` where its position is not after the last one's, or its width is
        another."""
        self._check(arrival)
        self.position = arrival.position
        self.latest_ns = max(self.latest_ns, arrival.told_ns)
        fate = self._fold(arrival)
        self.open_rows = self._rows.end - self._cuts.floor(self._rows)
        return fate

    def _check(self, arrival: Arrival) -> None:
        if arrival.position <= self.position:
            raise ValueError(f"arrival {arrival.position} of {self.key} comes after arrival {self.position}")
        columns = arrival.rows.shape[1]
        if columns != (self._columns or columns) or not len(arrival.rows):
            raise ValueError(f"arrival {arrival.position} of {self.key} has rows of shape {arrival.rows.shape}")
        self._columns = columns

    def _fold(self, arrival: Arrival) -> Fate:
        if arrival.time_ns < self._rows.watermark_ns:
            self._late += len(arrival.rows)
            self._spent.append(arrival.position)
            return Fate.LATE
        before_ns = self._rows.watermark_ns
        fits = self._cuts.admits(arrival, self._rows, self._room_rows)
        if fits:
            self._rows.insert(arrival)
            self._cuts.relieve(self._rows, self._room_rows)
        self._hurried += self._rows.watermark_ns > before_ns
        if not fits:
            self._overflow += len(arrival.rows)
            self._spent.append(arrival.position)
            return Fate.OVERFLOW
        self._rows.settle(arrival.told_ns - self._lateness_ns)
        return Fate.TAKEN

    @property
    def _room_rows(self) -> int:
        return min(self._limits.key_rows, self._limits.key_bytes // (8 * max(1, self._columns)))

    def next_window(self) -> Window | None:
        """Cut the next complete window."""
        extent = self._cuts.next(self._rows)
        if extent is None:
            return None
        budget_ns = self._rows.passed_ns(extent.end - 1) if extent.end_ns is None else extent.end_ns
        window = _window_of(self.key, extent, self._rows.between(extent.first, extent.end), budget_ns)
        self._cuts.advance(extent, self._rows)
        self._windows += 1
        self._spent += self._rows.forget(self._cuts.done)
        return window

    def spent(self) -> Sequence[int]:
        """Positions of arrivals that no window needs any more, and that were not told before."""
        spent, self._spent = self._spent, []
        return spent

    def end(self, time_ns: int | None) -> "tuple[KeyProgress, Sequence[Window], Sequence[int]]":
        """Give the key up; where time has passed, as if an event of `time_ns` had come. Its last account, the windows
        that are complete, the positions of all arrivals it still holds."""
        if time_ns is not None:
            self._rows.settle(time_ns - self._lateness_ns)
        windows = list(iter(self.next_window, None))
        progress = self.progress(evicted=True)
        return progress, windows, [*self.spent(), *self._rows.positions()]

    def progress(self, evicted: bool = False) -> KeyProgress:
        """How far it is; `evicted` counts what is open as given up."""
        rows, done = self._rows, self._cuts.done
        left = rows.end - done
        return KeyProgress(
            key=self.key,
            position=self.position,
            rows=rows.end + self._late + self._overflow,
            in_windows=done,
            open=0 if evicted else left,
            late=self._late,
            overflow=self._overflow,
            evicted=left if evicted else 0,
            windows=self._windows,
            empty_windows=self._cuts.empty,
            hurried=self._hurried,
            needed_rows=self._cuts.needed_rows(rows),
            watermark_ns=None if rows.watermark_ns == EARLIEST_NS else rows.watermark_ns,
            closes_ns=self._cuts.closes_ns(rows),
        )

    def snapshot(self) -> Snapshot:
        """What a restart needs besides the arrivals that are held."""
        rows = self._rows
        return Snapshot(
            settings=self._settings(),
            cuts=self._cuts.state(),
            position=self.position,
            watermark_ns=rows.watermark_ns,
            latest_ns=self.latest_ns,
            first=rows.first,
            settled_end=rows.settled_end,
            end=rows.end,
            windows=self._windows,
            late=self._late,
            overflow=self._overflow,
            hurried=self._hurried,
            before=rows.before,
            spent=tuple(self._spent),
        )

    def _settings(self) -> dict[str, float]:
        """What positions, settled rows and windows follow from."""
        cut: CountCut | SpanCut = self._cut
        lateness = {"lateness_ns": self._lateness_ns}
        if isinstance(cut, CountCut):
            return {"rows": cut.rows, "step": cut.step, **lateness}
        return {"span_s": cut.span_s, "step_s": cut.step_s, **lateness}

    def restore(self, snapshot: Snapshot, held: Iterable[Arrival]) -> None:
        """Become what `snapshot` was taken of, with the arrivals it held, in any order. Raises `ValueError` where these
        are others, or windows were cut otherwise."""
        if snapshot.settings != self._settings():
            raise ValueError(f"windows of {self.key} were cut by {snapshot.settings}, now by {self._settings()}")
        spent = frozenset(snapshot.spent)
        before = None if snapshot.before is None else Moment(*snapshot.before)
        self._rows = OrderedRows(snapshot.first, before=before)
        for arrival in held:
            if arrival.position not in spent:
                self._columns = arrival.rows.shape[1]
                self._rows.insert(arrival)
        self._rows.settle(snapshot.watermark_ns)
        if (self._rows.settled_end, self._rows.end) != (snapshot.settled_end, snapshot.end):
            raise ValueError(
                f"{self.key} held rows {snapshot.first} to {snapshot.end}, and is given them to {self._rows.end}"
            )
        self._take_over(snapshot)

    def _take_over(self, snapshot: Snapshot) -> None:
        self._cuts.restore(snapshot.cuts)
        self._spent = list(snapshot.spent)
        self._late, self._overflow = snapshot.late, snapshot.overflow
        self._hurried, self._windows = snapshot.hurried, snapshot.windows
        self.position, self.latest_ns = snapshot.position, snapshot.latest_ns
        self._rows.forget(self._cuts.done)
        self.open_rows = self._rows.end - self._cuts.floor(self._rows)


def _window_of(key: WindowKey, extent: Extent, parts: Sequence[Part], budget_ns: int) -> Window:
    head, tail = parts[0].arrival, parts[-1].arrival
    counts = [part.end_row - part.first_row for part in parts]
    rows = np.empty((extent.end - extent.first, head.rows.shape[1]))
    np.concatenate([part.rows for part in parts], out=rows)
    groups, names = _groups_of(parts, counts)
    return Window(
        key=key,
        first=extent.first,
        end=extent.end,
        rows=rows,
        time_s=np.repeat(np.array([part.arrival.time_ns for part in parts]) / _NS, counts),
        members=[_range_of(part) for part in parts],
        time=tail.time,
        start_ns=head.time_ns if extent.start_ns is None else extent.start_ns,
        end_ns=tail.time_ns if extent.end_ns is None else extent.end_ns,
        budget_ns=budget_ns,
        groups=groups,
        group_names=names,
    )


def _range_of(part: Part) -> RowRange:
    arrival = part.arrival
    return RowRange(arrival.source, arrival.id, part.first_row, part.end_row, arrival.time)


def _groups_of(parts: Sequence[Part], counts: Sequence[int]) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """The group of each row, and the groups' names in their alphabet's order."""
    names = sorted({part.arrival.group for part in parts})
    at = {name: index for index, name in enumerate(names)}
    return np.repeat(np.array([at[part.arrival.group] for part in parts], np.intp), counts), tuple(names)
