"""The rows of one key in their order: those that are settled, numbered from 0, and those that wait for the watermark.

Source: the watermark is that of Akidau et al., "The Dataflow Model" (VLDB 2015): nothing earlier is taken any more.
Invariant: arrivals before the watermark are settled, and their rows keep their positions for ever; an arrival is put
in by (time, source, id, part), so that whatever order it comes in behind the watermark, its rows get the same
positions.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple, cast

from wayside.detectors.drift.windowing.packs import SMALL_BYTES, Pack, pack
from wayside.detectors.drift.windowing.values import Arrival
from wayside.detectors.kinds.protocol import Matrix

EARLIEST_NS = -(1 << 63)

_PACKED = 64  # arrivals

_BY_ORDER = attrgetter("order")
_BY_TIME = attrgetter("time_ns")


class Part(NamedTuple):
    """The rows `first_row` up to but without `end_row` of an arrival."""

    arrival: Arrival
    first_row: int
    end_row: int
    rows: Matrix


class Moment(NamedTuple):
    """All rows of one time, which are settled together: the position of the first of them, and the time of the row
    before it, if there is one."""

    time_ns: int
    first: int
    before_ns: int | None


class OrderedRows:
    """`watermark_ns` is the time before which all is settled; `settled_end` the position after the last settled row,
    `end` after the last row of all. Rows that were let go of are held no more; positions stay. `before` is the
    moment of the row before `first`."""

    def __init__(self, first: int = 0, watermark_ns: int = EARLIEST_NS, before: Moment | None = None) -> None:
        self._held: list[Arrival | Pack] = []  # what is settled, then the arrivals that wait, each in order
        self._firsts: list[int] = []  # the position of the first row of each that is settled
        self._cut_off = 0  # rows of the first that are held no more
        self._loose = 0  # how many small arrivals are the last that settled, in no pack yet
        self.watermark_ns = watermark_ns
        self.before = before
        self.settled_end = self.end = first

    @property
    def first(self) -> int:
        """The position of row 0 of the first arrival that is held, or that the next one to settle will have."""
        return self._firsts[0] if self._firsts else self.settled_end

    @property
    def waiting_ns(self) -> int | None:
        """The time of the first arrival that waits for the watermark."""
        at = len(self._firsts)
        return self._held[at].time_ns if at < len(self._held) else None

    def insert(self, arrival: Arrival) -> None:
        """Put an arrival that is not before the watermark in its place. It is settled by the next `settle`."""
        held = self._held
        if len(held) == len(self._firsts) or _BY_ORDER(held[-1]) <= arrival.order:
            held.append(arrival)
        else:
            insort(held, arrival, lo=len(self._firsts), key=_BY_ORDER)
        self.end += len(arrival.rows)

    def settle(self, before_ns: int) -> None:
        """Move the watermark up to `before_ns`; never down."""
        if before_ns <= self.watermark_ns:
            return
        self.watermark_ns = before_ns
        held, firsts = self._held, self._firsts
        while len(firsts) < len(held) and (arrival := held[len(firsts)]).time_ns < before_ns:
            firsts.append(self.settled_end)
            self.settled_end += len(arrival.rows)
            self._loose = self._loose + 1 if arrival.rows.nbytes < SMALL_BYTES else 0
            if self._loose == _PACKED:
                self._pack_last()

    def _pack_last(self) -> None:
        self._loose = 0
        end = len(self._firsts)
        first = end - _PACKED
        if first > 0:  # the first of all may be cut off
            self._held[first:end] = [pack(cast("list[Arrival]", self._held[first:end]))]
            del self._firsts[first + 1 :]

    def position_at(self, time_ns: int) -> int:
        """The position of the first settled row whose time is not before `time_ns`: `settled_end` where none is."""
        at = bisect_left(self._held, time_ns, hi=len(self._firsts), key=_BY_TIME)
        if at == len(self._firsts):
            return self.settled_end
        found = self._held[at]
        return self._firsts[at] + (found.row_at(time_ns) if isinstance(found, Pack) else 0)

    def time_from(self, position: int) -> int | None:
        """The time of the row at a position, or of the first that waits where that is not settled; None: no row."""
        if position >= self.settled_end:
            return self.waiting_ns
        at = bisect_right(self._firsts, position) - 1
        found = self._held[at]
        return found.time_of(position - self._firsts[at]) if isinstance(found, Pack) else found.time_ns

    def moment_of(self, position: int) -> Moment:
        """The moment of a settled row that is held."""
        time_ns = self.time_from(position)
        assert time_ns is not None, "a settled row has a time"
        if self.before is not None and self.before.time_ns == time_ns:
            return self.before
        first = self.position_at(time_ns)
        if first > self.first:
            return Moment(time_ns, first, self.time_from(first - 1))
        return Moment(time_ns, first, None if self.before is None else self.before.time_ns)

    def passed_ns(self, position: int) -> int:
        """How far time has passed with a settled row: from the moment before its own, shared evenly by the rows of it.
        All of it with the first of all moments, which has none before."""
        time_ns, first, before_ns = self.moment_of(position)
        if before_ns is None:
            return time_ns
        rows = self.position_at(time_ns + 1) - first
        return before_ns + (time_ns - before_ns) * (position + 1 - first) // rows

    def between(self, first: int, end: int) -> Sequence[Part]:
        """The settled rows [first, end), in order, as the parts of arrivals that they are."""
        at, stop = bisect_right(self._firsts, first) - 1, bisect_left(self._firsts, end)
        parts: list[Part] = []
        cut_off, position = self._cut_off if at == 0 else 0, self._firsts[at]
        for arrival in _unpacked(self._held[at:stop]):
            after = position + cut_off + len(arrival.rows)
            if after > first and position < end:
                parts.append(_part(arrival, cut_off, max(first - position, cut_off), min(end, after) - position))
            position, cut_off = after, 0
        return parts

    def forget(self, position: int) -> Sequence[int]:
        """Let go of the rows before a position; what is returned are the positions of arrivals that have none left."""
        self._open_pack(position)
        spent = bisect_right(self._firsts, position) - 1 if position < self.settled_end else len(self._firsts)
        forgotten = [arrival.position for arrival in _unpacked(self._held[:spent])]
        if spent > 0:
            self.before = self.moment_of((self._firsts[spent] if spent < len(self._firsts) else self.settled_end) - 1)
            del self._held[:spent], self._firsts[:spent]
            self._cut_off = 0
            self._loose = min(self._loose, len(self._firsts))
        self._cut_off_before(position)
        return forgotten

    def _open_pack(self, position: int) -> None:
        """Take the pack apart that a position lies in, so that its arrivals can be let go of one by one."""
        at = bisect_right(self._firsts, position) - 1
        if position >= self.settled_end or at < 0 or not isinstance(opened := self._held[at], Pack):
            return
        first = self._firsts[at]
        self._held[at : at + 1] = [replace(each, rows=each.rows.copy()) for each in opened.unpack()]
        self._firsts[at : at + 1] = (opened.firsts + first).tolist()

    def _cut_off_before(self, position: int) -> None:
        """Copy what is left of the first arrival, where it is less than half: a view would hold all of it."""
        if not self._firsts:
            return
        head, rows = self._held[0], position - self._firsts[0] - self._cut_off
        if rows * 2 > len(head.rows):
            assert isinstance(head, Arrival), "a pack that is begun was taken apart"
            self._held[0] = replace(head, rows=head.rows[rows:].copy())
            self._cut_off += rows

    def positions(self) -> Sequence[int]:
        """The positions of all arrivals that are held."""
        return [arrival.position for arrival in _unpacked(self._held)]


def _unpacked(held: Iterable[Arrival | Pack]) -> Iterator[Arrival]:
    for each in held:
        if isinstance(each, Pack):
            yield from each.unpack()
        else:
            yield each


def _part(arrival: Arrival, cut_off: int, first_row: int, end_row: int) -> Part:
    return Part(arrival, first_row, end_row, arrival.rows[first_row - cut_off : end_row - cut_off])
