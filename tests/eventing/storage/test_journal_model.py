"""The journal's tables against a model of lists and sets, under any sequence of appends, acknowledgements, sweeps."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wayside.eventing.storage import journal_cursors, journal_damage, journal_retention, journal_tables
from wayside.eventing.storage.entry import Entry, checksum
from wayside.eventing.storage.journal_cursors import Start
from wayside.eventing.storage.journal_errors import JournalFull
from wayside.eventing.storage.journal_retention import Retention, WhenFull

_LIMIT_BYTES = 1_000
_NAMES = st.sampled_from(("a", "b", "c"))
_SIZES = st.lists(st.integers(0, 300), min_size=1, max_size=4)
_HUGE = 1 << 40


@dataclass
class _Cursor:
    """`waiting` are the positions that it is still to be given."""

    waiting: set[int]
    overflow: int = 0


@dataclass
class _Model:
    kept: dict[int, Entry] = field(default_factory=dict)
    cursors: dict[str, _Cursor] = field(default_factory=dict)
    salvaged_to: int = 0

    @property
    def bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.kept.values())

    def drop(self, position: int) -> None:
        del self.kept[position]
        for cursor in self.cursors.values():
            if position in cursor.waiting:
                cursor.waiting.discard(position)
                cursor.overflow += 1

    def is_acknowledged(self, position: int) -> bool:
        """By everyone, and everything before it too: only the front of the log is forgotten."""
        return not any(earlier <= position for cursor in self.cursors.values() for earlier in cursor.waiting)


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(journal_tables.SCHEMA)
        self.model = _Model()
        self.last = 0
        self.now = 0

    def teardown(self) -> None:
        self.connection.close()

    @rule(groups=st.lists(_SIZES, min_size=1, max_size=3), policy=st.sampled_from(WhenFull))
    def append(self, groups: list[list[int]], policy: WhenFull) -> None:
        self.now += 1
        entries = [[Entry(self.now, b"h", bytes(size)) for size in group] for group in groups]
        outcomes = journal_retention.append(self.connection, entries, Retention(_LIMIT_BYTES, policy))
        kept = {row[0] for row in self.connection.execute("SELECT position FROM journal_entry")}
        for position in sorted(set(self.model.kept) - kept):
            assert policy is WhenFull.DROP_OLDEST or self.model.is_acknowledged(position)
            self.model.drop(position)
        for group, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, JournalFull):
                assert policy is WhenFull.REFUSE or sum(e.size_bytes for e in group) > _LIMIT_BYTES
                continue
            assert outcome.start > self.last
            self.last = outcome.stop - 1
            self._appended(dict(zip(outcome, group, strict=True)), kept)

    def _appended(self, group: dict[int, Entry], kept: set[int]) -> None:
        self.model.kept |= group
        for cursor in self.model.cursors.values():
            cursor.waiting |= set(group)
        for position in set(group) - kept:  # dropped by a later group of the same transaction
            self.model.drop(position)

    @rule(name=_NAMES, start=st.sampled_from(Start))
    def open(self, name: str, start: Start) -> None:
        journal_cursors.open_cursor(self.connection, name, start)
        if name not in self.model.cursors:
            from_beginning = start is Start.BEGINNING or any(p <= self.model.salvaged_to for p in self.model.kept)
            self.model.cursors[name] = _Cursor(set(self.model.kept) if from_beginning else set())

    @rule(name=_NAMES)
    def drop(self, name: str) -> None:
        dropped = journal_cursors.drop_cursor(self.connection, name)
        assert dropped is (self.model.cursors.pop(name, None) is not None)

    @rule(name=_NAMES, offsets=st.lists(st.integers(-12, 2), max_size=6))
    def acknowledge(self, name: str, offsets: list[int]) -> None:
        if name not in self.model.cursors:
            return
        positions = [self.last + offset for offset in offsets]
        state = journal_cursors.find(self.connection, name)
        new = journal_cursors.acknowledge(self.connection, state.cursor, positions)
        assert new == len(self.model.cursors[name].waiting & set(positions))
        self.model.cursors[name].waiting -= set(positions)

    @rule(keep_s=st.integers(0, 3), limit_s=st.none() | st.integers(0, 5))
    def sweep(self, keep_s: int, limit_s: int | None) -> None:
        retention = Retention(_LIMIT_BYTES, keep_acknowledged_s=keep_s / 1e9, limit_age_s=limit_s and limit_s / 1e9)
        journal_retention.sweep(self.connection, self.now, retention)
        for position in sorted(self.model.kept):
            age = self.now - self.model.kept[position].time_ns
            spent = self.model.is_acknowledged(position) and age >= keep_s
            if not (spent or (retention.limit_age_s is not None and age >= (limit_s or 0))):
                return
            self.model.drop(position)

    @rule(pick=st.integers(0, 10))
    def damage(self, pick: int) -> None:
        if not self.model.kept:
            return
        position = sorted(self.model.kept)[pick % len(self.model.kept)]
        self.connection.execute("UPDATE journal_entry SET checksum = checksum + 1 WHERE position = ?", (position,))
        page = journal_tables.read_page(self.connection, position - 1, 1, _HUGE)
        assert (page.entries, page.damaged, page.last) == ((), (position,), position)
        assert journal_damage.cut_tail(self.connection) == 1
        del self.model.kept[position]
        for cursor in self.model.cursors.values():
            cursor.waiting.discard(position)

    @rule()
    def salvage(self) -> None:
        """Where nothing was lost this changes the next position alone and, without a cursor, where new ones begin."""
        journal_damage.mend(self.connection)
        if not self.model.cursors:
            self.model.salvaged_to = max(self.model.kept, default=0)
        self.last = journal_tables.state(self.connection).next - 1

    @invariant()
    def agrees(self) -> None:
        state = journal_tables.state(self.connection)
        assert (state.entries, state.bytes) == (len(self.model.kept), self.model.bytes)
        assert state.bytes <= _LIMIT_BYTES
        known = {cursor.name: cursor for cursor in journal_cursors.cursors(self.connection)}
        assert known.keys() == self.model.cursors.keys()
        for name, cursor in self.model.cursors.items():
            page = journal_tables.read_page(self.connection, known[name].position, 1_000, _HUGE, known[name].cursor)
            assert [entry.position for entry in page.entries] == sorted(cursor.waiting)
            assert known[name].waiting_entries == len(cursor.waiting)
            assert known[name].waiting_bytes == sum(self.model.kept[p].size_bytes for p in cursor.waiting)
            assert known[name].overflow_entries == cursor.overflow
            if cursor.waiting:
                assert known[name].oldest_ns == self.model.kept[min(cursor.waiting)].time_ns

    @invariant()
    def cursors_stand_before_the_first_that_waits(self) -> None:
        for name, cursor in self.model.cursors.items():
            position = journal_cursors.find(self.connection, name).position
            assert all(waiting > position for waiting in cursor.waiting)
            ahead = [kept for kept in self.model.kept if kept > position]
            assert not ahead or min(ahead) in cursor.waiting


TestJournalTables = JournalMachine.TestCase


@given(st.lists(st.tuples(st.integers(), st.integers(), st.binary(), st.binary()), min_size=2, max_size=2, unique=True))
def test_a_checksum_tells_entries_apart(pair: list[tuple[int, int, bytes, bytes]]) -> None:
    (one, other) = [(p % 2**62, t % 2**62, head, data) for p, t, head, data in pair]
    assert (checksum(*one) == checksum(*other)) is (one == other)


def test_a_page_of_a_million_is_read_without_the_rest() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(journal_tables.SCHEMA)
        journal_tables.append(connection, [Entry(n, b"", b"x") for n in range(5_000)])
        looked_at = 0

        def count() -> int:
            nonlocal looked_at
            looked_at += 1
            return 0

        connection.set_progress_handler(count, 100)
        page = journal_tables.read_page(connection, 2_500, 10, _HUGE)
    assert [entry.position for entry in page.entries] == list(range(2_501, 2_511))
    assert looked_at < 10
