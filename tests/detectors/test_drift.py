"""The drift service in one process: windows, identities, the outbox, and replay to equal bytes."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.service.store import DriftStore
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.verdict import read_window_verdict
from wayside.eventing.vocabulary import DRIFT

from .conftest import drift_in, normal_rows, request_event, wait_until

WINDOW = 50


def traffic(sizes: list[int], seed: int = 40) -> list[CloudEvent]:
    return [
        request_event(normal_rows(size, seed + n), str(n), f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z")
        for n, size in enumerate(sizes)
    ]


async def test_windows_close_when_full_and_their_verdicts_are_posted(ks: Artifact, tmp_path: Path) -> None:
    events = traffic([30, 30, 120, 7])
    async with drift_in(tmp_path, ks) as drift:
        assert await drift.take(*events) == ["scored"] * 4
        await wait_until(lambda: drift.view() == (187, 150, 3, 0))
    verdicts = [read_window_verdict(event) for event in drift.sink.events]
    assert [(verdict.first, verdict.end) for verdict in verdicts] == [(0, 50), (50, 100), (100, 150)]
    assert [(part.id, part.first_row, part.end_row) for part in verdicts[1].members] == [("1", 20, 30), ("2", 0, 40)]
    assert [event.time for event in drift.sink.events] == [events[1].time, events[2].time, events[2].time]
    assert {event.type for event in drift.sink.events} == {DRIFT}
    assert (verdicts[0].key.service, verdicts[0].threshold, len(verdicts[0].feature_distance)) == ("digits", 0.01, 4)
    assert len({event.id for event in drift.sink.events}) == 3


async def test_a_shift_is_seen_and_ordinary_rows_are_not(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(normal_rows(50, 60), "a"), request_event(normal_rows(50, 61) + 1.5, "b"))
        await wait_until(lambda: drift.view()[2:] == (2, 0))
    assert [read_window_verdict(event).is_drift for event in drift.sink.events] == [False, True]


async def test_keys_have_windows_of_their_own(ks: Artifact, tmp_path: Path) -> None:
    hostile = "a/b%2F/c"
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(
            request_event(normal_rows(49, 1), "1"),
            request_event(normal_rows(49, 2), "2", endpoint="canary"),
            request_event(normal_rows(50, 3), "3", namespace=hostile),
        )
        await wait_until(lambda: drift.view() == (148, 50, 1, 0))
    assert drift.sink.events[0].extensions["namespace"] == hostile


async def test_redelivery_changes_nothing_and_other_bytes_are_kept_apart(ks: Artifact, tmp_path: Path) -> None:
    event, other = request_event(normal_rows(30, 1), "1"), request_event(normal_rows(30, 2), "1")
    async with drift_in(tmp_path, ks) as drift:
        assert await drift.take(event, event, other, other) == ["scored", "duplicate", "conflict", "conflict"]
        await drift.take(request_event(normal_rows(20, 3), "2"))
        await wait_until(lambda: drift.view() == (50, 50, 1, 0))
    with sqlite3.connect(tmp_path / "drift.sqlite") as connection:
        assert connection.execute("SELECT source, id, data FROM conflict").fetchall() == [
            (other.source, other.id, other.data)
        ]
    connection.close()


async def test_bad_rows_are_refused_before_anything_is_stored(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        for bad in (request_event([[1, 2, 3]]), request_event([]), request_event([[1, 2, 3, "x"]])):
            with pytest.raises(MalformedEvent):
                await drift.take(bad)
        with pytest.raises(MalformedEvent, match="time"):
            await drift.take(request_event(normal_rows(1, 1), time_text=None))
        assert await drift.take(request_event(normal_rows(50, 1))) == ["scored"]
        await wait_until(lambda: drift.view() == (50, 50, 1, 0))


async def test_values_that_are_not_finite_become_drift(ks: Artifact, tmp_path: Path) -> None:
    rows = normal_rows(50, 1)
    rows[:30, 2] = np.nan
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(rows))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
    assert read_window_verdict(drift.sink.events[0]).is_drift


async def test_the_outbox_outlasts_a_sink_that_is_down(ks: Artifact, tmp_path: Path) -> None:
    sink = MemorySink(failures=[SinkUnavailable("down"), SinkUnavailable("still", retry_after_s=0.001)] * 3)
    async with drift_in(tmp_path, ks, sink) as drift:
        await drift.take(*traffic([100]))
        await wait_until(lambda: drift.view() == (100, 100, 2, 0))
    assert len({event.id for event in sink.events}) == len(sink.events) == 2


async def test_a_refused_verdict_is_kept_and_holds_up_nothing(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks, MemorySink(failures=[EventRefused("no such broker")])) as drift:
        await drift.take(*traffic([100]))
        await wait_until(lambda: len(drift.sink.events) == 1 and drift.view() == (100, 100, 2, 0))
        assert drift.store.view()["refused"] == 1


async def test_what_was_not_posted_is_posted_after_a_restart(ks: Artifact, tmp_path: Path) -> None:
    down = MemorySink(failures=[SinkUnavailable("down")] * 100_000)
    async with drift_in(tmp_path, ks, down) as drift:
        await drift.take(*traffic([60, 60]))
        await wait_until(lambda: drift.view() == (120, 100, 2, 2))
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(*traffic([60, 60, 60]))
        await wait_until(lambda: drift.view() == (180, 150, 3, 0))
    assert [read_window_verdict(event).first for event in drift.sink.events] == [0, 50, 100]


async def test_the_same_journal_replays_to_the_same_bytes(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path / "first", ks) as drift:
        await asyncio.gather(*(drift.take(event) for event in traffic([1, 99, 13, 200, 7, 61])))
        await wait_until(lambda: drift.view()[2:] == (7, 0))
    shutil.copytree(tmp_path / "first", tmp_path / "again")
    with sqlite3.connect(tmp_path / "again" / "drift.sqlite") as connection:
        for table in ("checkpoint", "closed", "outbox"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    async with drift_in(tmp_path / "again", ks) as again:
        await wait_until(lambda: again.view()[2:] == (7, 0))
    assert again.sink.events == drift.sink.events


async def test_values_are_forgotten_after_their_time_and_identities_are_not(ks: Artifact, tmp_path: Path) -> None:
    events = traffic([30] * 20)
    async with drift_in(tmp_path, ks, retain_windows=2) as drift:
        await drift.take(*events)
        await wait_until(lambda: drift.view() == (600, 600, 12, 0))
        assert set(await drift.take(*events)) == {"duplicate"}
    with sqlite3.connect(tmp_path / "drift.sqlite") as connection:
        kept = connection.execute("SELECT first FROM row_log WHERE payload != x'' ORDER BY first").fetchall()
    connection.close()
    assert kept == [(480,), (510,), (540,), (570,)]


async def test_a_journal_of_another_width_is_refused(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks):
        pass
    with pytest.raises(ConfigurationError, match="rows of 4 features"):
        await DriftStore(tmp_path, "drift", 9).start()
