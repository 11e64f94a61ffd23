"""Limits in bytes and in age: who goes first, what is refused, what is counted, and the disk gets its room back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.storage.entry import ROW_BYTES, Entry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_errors import JournalFull
from wayside.eventing.storage.journal_retention import Retention, WhenFull

_SIZE = 1_000


def _entry(number: int) -> Entry:
    return Entry(number * 10**9, b"", b"x" * (_SIZE - ROW_BYTES))


def _seconds(entries: Any) -> list[int]:
    return [entry.time_ns // 10**9 for entry in entries]


async def test_a_full_journal_refuses_and_says_why(tmp_path: Path, running: Any, read_all: Any) -> None:
    async with running(Journal(tmp_path / "j.db", Retention(10 * _SIZE))) as journal:
        await journal.open_cursor("reader")
        await journal.append([_entry(n) for n in range(10)])
        outcomes = await asyncio.gather(*(journal.append([_entry(10 + n)]) for n in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [JournalFull] * 3
        assert str(outcomes[0]).startswith("the journal holds 10000 of at most 10000 bytes")
        await journal.acknowledge("reader", [2])
        with pytest.raises(JournalFull):
            await journal.append([_entry(10)])
        await journal.acknowledge("reader", [1])
        outcomes = await asyncio.gather(*(journal.append([_entry(20 + n)]) for n in range(4)), return_exceptions=True)
        assert [isinstance(outcome, JournalFull) for outcome in outcomes] == [False, False, True, True]
        assert _seconds(await read_all(journal)) == [2, 3, 4, 5, 6, 7, 8, 9, 20, 21]
        (cursor,) = (await journal.state()).cursors
        assert cursor.overflow_entries == 0


async def test_dropping_the_oldest_is_counted_for_each_cursor_that_waited(
    tmp_path: Path, running: Any, read_all: Any
) -> None:
    retention = Retention(10 * _SIZE, WhenFull.DROP_OLDEST)
    async with running(Journal(tmp_path / "j.db", retention)) as journal:
        for name in ("fast", "odd", "slow"):
            await journal.open_cursor(name)
        await journal.append([_entry(n) for n in range(1, 11)])
        await journal.acknowledge("fast", range(1, 11))
        await journal.acknowledge("odd", range(1, 11, 2))
        await journal.append([_entry(n) for n in range(11, 15)])
        overflow = {c.name: (c.overflow_entries, c.overflow_bytes) for c in (await journal.state()).cursors}
        assert overflow == {"fast": (0, 0), "odd": (2, 2 * _SIZE), "slow": (4, 4 * _SIZE)}
        assert _seconds(await read_all(journal, "slow")) == list(range(5, 15))
        assert _seconds(await read_all(journal, "odd")) == [6, 8, 10, 11, 12, 13, 14]
        assert _seconds(await read_all(journal, "fast")) == [11, 12, 13, 14]


@pytest.mark.parametrize("policy", WhenFull)
async def test_what_is_larger_than_the_journal_is_refused_and_drops_nothing(
    tmp_path: Path, running: Any, policy: WhenFull
) -> None:
    async with running(Journal(tmp_path / "j.db", Retention(5 * _SIZE, policy))) as journal:
        await journal.append([_entry(n) for n in range(3)])
        with pytest.raises(JournalFull, match="larger than the journal"):
            await journal.append([_entry(n) for n in range(6)])
        assert (await journal.state()).log.entries == 3


@pytest.mark.parametrize(
    ("keep_s", "limit_age_s", "now_s", "left", "overflow"),
    [
        (0.0, None, 100, [5, 6, 7, 8], 0),
        (97.0, None, 100, [4, 5, 6, 7, 8], 0),
        (1_000.0, None, 100, [1, 2, 3, 4, 5, 6, 7, 8], 0),
        (0.0, 94.0, 100, [7, 8], 2),
        (1_000.0, 98.0, 100, [3, 4, 5, 6, 7, 8], 0),
        (0.0, 0.0, 100, [], 4),
        (0.0, 0.0, 0, [1, 2, 3, 4, 5, 6, 7, 8], 0),
    ],
)
async def test_age_goes_by_the_entries_own_times(
    tmp_path: Path, running: Any, keep_s: float, limit_age_s: float | None, now_s: int, left: list[int], overflow: int
) -> None:
    retention = Retention(keep_acknowledged_s=keep_s, limit_age_s=limit_age_s)
    async with running(Journal(tmp_path / "j.db", retention)) as journal:
        await journal.open_cursor("reader")
        await journal.append([_entry(n) for n in range(1, 9)])
        await journal.acknowledge("reader", [1, 2, 3, 4])
        swept = await journal.sweep(now_s * 10**9)
        assert (swept.entries, swept.overflowed, swept.done) == (8 - len(left), overflow, True)
        times = await journal.look(
            lambda connection: connection.execute("SELECT time_ns FROM journal_entry ORDER BY position").fetchall()
        )
        assert [time_ns // 10**9 for (time_ns,) in times] == left


async def test_the_disk_gets_its_room_back(tmp_path: Path, running: Any, read_all: Any) -> None:
    path = tmp_path / "j.db"

    def size() -> int:
        return sum(file.stat().st_size for file in tmp_path.iterdir() if not file.name.endswith(("-shm", ".lock")))

    async with running(Journal(path)) as journal:
        await journal.open_cursor("reader")
        for _ in range(20):
            positions = await journal.append([_entry(1)] * 1_000)
        full = size()
        assert full > 20_000 * _SIZE
        await journal.acknowledge("reader", range(1, positions.stop - 100))
        await journal.sweep(10**18)
        assert len(await read_all(journal)) == 100
        assert size() < 600_000
        await journal.append([_entry(1)] * 100)
        assert size() < 1_000_000


async def test_a_journal_at_its_limit_stays_at_its_size(tmp_path: Path, running: Any) -> None:
    path = tmp_path / "j.db"
    limit = 2_000_000
    async with running(Journal(path, Retention(limit, WhenFull.DROP_OLDEST))) as journal:
        await journal.open_cursor("reader")
        for _ in range(100):
            await asyncio.gather(*(journal.append([_entry(1)]) for _ in range(100)))
        (cursor,) = (await journal.state()).cursors
        assert cursor.waiting_bytes <= limit
        assert cursor.waiting_entries + cursor.overflow_entries == 10_000
        await journal.sweep(0)
        assert path.stat().st_size < limit * 4 / 3 + 500_000


@pytest.mark.parametrize("setting", [{"limit_bytes": 0}, {"keep_acknowledged_s": -1.0}, {"limit_age_s": -0.1}])
def test_a_retention_that_means_nothing_is_a_wrong_setting(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Retention(**setting)
