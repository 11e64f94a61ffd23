"""Where windows begin and end: every so many rows, or every so many seconds of event time.

Invariant: where the windows of a key lie follows from its settled rows and its watermark alone, not from when somebody
asks for the next: whoever asks late is given the same windows, one after the other.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from wayside.detectors.drift.settings import CountCut, Cut, SpanCut
from wayside.detectors.drift.windowing.ordered import EARLIEST_NS, OrderedRows
from wayside.detectors.drift.windowing.values import Arrival

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Extent:
    """A window's rows [first, end), and its span where it is one of time."""

    first: int
    end: int
    start_ns: int | None = None
    end_ns: int | None = None


class Cuts(Protocol):
    """How far the windows of one key are cut. Rows before `done` are in no window to come; `empty` counts the spans
    that had no row, up to the last row that was looked at."""

    done: int
    empty: int

    def next(self, rows: OrderedRows) -> Extent | None:
        """The window to be cut next, if it is complete."""

    def advance(self, extent: Extent, rows: OrderedRows) -> None:
        """It is cut."""

    def floor(self, rows: OrderedRows) -> int:
        """What `done` is once all complete windows are cut: the rows from there on are open."""

    def admits(self, arrival: Arrival, rows: OrderedRows, limit_rows: int) -> bool:
        """Whether an arrival fits before it is put in: the watermark may be moved up for it, never past it."""

    def relieve(self, rows: OrderedRows, limit_rows: int) -> None:
        """Move the watermark up as far as it takes to have no more than `limit_rows` open, where it helps."""

    def needed_rows(self, rows: OrderedRows) -> int:
        """How many rows the next window lacks, of those it has as soon as they are settled."""

    def closes_ns(self, rows: OrderedRows) -> int | None:
        """The watermark at which the next window is complete, where windows are spans of time."""

    def state(self) -> dict[str, Any]:
        """As JSON has it; `restore` takes it back."""

    def restore(self, state: dict[str, Any]) -> None:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is no state."""


def cuts_of(cut: Cut) -> Cuts:
    """The cuts of a key of which nothing is cut yet."""
    return CountCuts(cut) if isinstance(cut, CountCut) else SpanCuts(cut)


class CountCuts:
    """Windows of exactly so many rows. The room for rows is never less than a window needs."""

    def __init__(self, cut: CountCut) -> None:
        self._rows, self._step = cut.rows, cut.step
        self.done = self.empty = 0

    def next(self, rows: OrderedRows) -> Extent | None:
        end = self.done + self._rows
        return Extent(self.done, end) if end <= rows.settled_end else None

    def advance(self, extent: Extent, rows: OrderedRows) -> None:
        self.done = extent.first + self._step

    def floor(self, rows: OrderedRows) -> int:
        over = rows.settled_end - self.done - self._rows
        return self.done if over < 0 else self.done + (over // self._step + 1) * self._step

    def admits(self, arrival: Arrival, rows: OrderedRows, limit_rows: int) -> bool:
        return True

    def relieve(self, rows: OrderedRows, limit_rows: int) -> None:
        limit_rows = max(limit_rows, self._rows)
        while rows.end - self.floor(rows) > limit_rows and (waiting_ns := rows.waiting_ns) is not None:
            rows.settle(waiting_ns + 1)

    def needed_rows(self, rows: OrderedRows) -> int:
        return max(0, self.done + self._rows - rows.end)

    def closes_ns(self, rows: OrderedRows) -> int | None:
        return None

    def state(self) -> dict[str, Any]:
        return {"done": self.done}

    def restore(self, state: dict[str, Any]) -> None:
        self.done = int(state["done"])


class SpanCuts:
    """Windows of event time that begin at every multiple of a step since the epoch. One without a row is passed over,
    however many of them there are between two rows."""

    def __init__(self, cut: SpanCut) -> None:
        self._span_ns, self._step_ns = round(cut.span_s * _NS), max(1, round(cut.step_s * _NS))
        self._start_ns: int | None = None  # of the window to come; none before the first row
        self._floor = (EARLIEST_NS, 0)  # where the rows from a time on begin, which settled rows do not move
        self.done = self.empty = 0

    def _first_after(self, time_ns: int) -> int:
        """The start of the first window that ends after a time."""
        return ((time_ns - self._span_ns) // self._step_ns + 1) * self._step_ns

    def _next_start_ns(self, rows: OrderedRows) -> int | None:
        """The start of the first window to come that has a row."""
        time_ns = rows.time_from(self.done)
        if time_ns is None:
            return None
        first_ns = self._first_after(time_ns)
        return first_ns if self._start_ns is None else max(self._start_ns, first_ns)

    def next(self, rows: OrderedRows) -> Extent | None:
        if self._start_ns is not None and self._start_ns + self._span_ns > rows.watermark_ns:
            return None  # the first to come, were it one that has a row
        start_ns = self._next_start_ns(rows)
        if start_ns is None or (end_ns := start_ns + self._span_ns) > rows.watermark_ns:
            return None
        return Extent(self.done, rows.position_at(end_ns), start_ns, end_ns)

    def advance(self, extent: Extent, rows: OrderedRows) -> None:
        assert extent.start_ns is not None, "windows of time have a span"
        if self._start_ns is not None:
            self.empty += (extent.start_ns - self._start_ns) // self._step_ns
        self._start_ns = extent.start_ns + self._step_ns
        self.done = rows.position_at(self._start_ns)

    def floor(self, rows: OrderedRows) -> int:
        start_ns = self._first_after(rows.watermark_ns)
        if start_ns != self._floor[0]:
            self._floor = start_ns, rows.position_at(start_ns)
        return max(self.done, self._floor[1])

    def admits(self, arrival: Arrival, rows: OrderedRows, limit_rows: int) -> bool:
        """Spans that end before the arrival are closed one after another until it fits."""
        while rows.end - (floor := self.floor(rows)) + len(arrival.rows) > limit_rows:
            time_ns = rows.time_from(floor)
            if time_ns is None:
                return False
            end_ns = max(self._first_after(time_ns), self._first_after(rows.watermark_ns)) + self._span_ns
            if end_ns > arrival.told_ns:
                return False
            rows.settle(end_ns)
        return True

    def relieve(self, rows: OrderedRows, limit_rows: int) -> None:
        """`admits` has made room."""

    def needed_rows(self, rows: OrderedRows) -> int:
        return 0

    def closes_ns(self, rows: OrderedRows) -> int | None:
        start_ns = self._next_start_ns(rows)
        return None if start_ns is None else start_ns + self._span_ns

    def state(self) -> dict[str, Any]:
        return {"done": self.done, "start_ns": self._start_ns, "empty": self.empty}

    def restore(self, state: dict[str, Any]) -> None:
        start_ns = state["start_ns"]
        self.done, self.empty = int(state["done"]), int(state["empty"])
        self._start_ns = None if start_ns is None else int(start_ns)
