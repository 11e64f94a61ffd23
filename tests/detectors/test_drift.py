"""The drift service in one process: windows by event time, identities, the outbox, keys, room, and replay to equal
bytes."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.service.room import Room
from wayside.detectors.drift.service.store import DriftStore, Reader
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.drift.windowing.values import WindowKey
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.tabular.event_rows import Side
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError, QueueFull
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import (
    DRIFT,
    FEEDBACK,
    OUTLIER,
    SELDON_REQUEST,
    SUBJECT_ID,
    SUBJECT_SOURCE,
    ServiceKey,
)

from .conftest import DriftTerms, at, drift_in, later, normal_rows, request_event, sample, wait_until

WINDOW = 50
DAY_S = 86400.0
WHO = DetectorIdentity("drift", "ks", "digest", 0.01)


def traffic(sizes: list[int], seed: int = 40, **extensions: str) -> list[CloudEvent]:
    """An event a second of so many rows each, and one that settles them all."""
    names = [f"{''.join(extensions.values())}{n}" for n in range(len(sizes) + 1)]
    sized = zip(sizes, names, strict=False)
    events = [
        request_event(normal_rows(size, seed + n), name, at(n), **extensions) for n, (size, name) in enumerate(sized)
    ]
    return [*events, later(len(sizes) + 2, event_id=f"later {names[-1]}", **extensions)]


def table(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "drift.sqlite")) as connection:
        return connection.execute(query).fetchall()


async def test_settled_windows_close_and_their_verdicts_are_posted(ks: Artifact, tmp_path: Path) -> None:
    events = traffic([30, 30, 120, 7])
    async with drift_in(tmp_path, ks) as drift:
        assert await drift.take(*events) == ["scored"] * 5
        await wait_until(lambda: drift.view() == (188, 150, 3, 0))
    assert [(verdict.first, verdict.end) for verdict in drift.verdicts] == [(0, 50), (50, 100), (100, 150)]
    members = [(part.id, part.first_row, part.end_row) for part in drift.verdicts[1].members]
    assert members == [("1", 20, 30), ("2", 0, 40)]
    assert [event.time for event in drift.sink.events if event.type == DRIFT] == [at(1), at(2), at(2)]
    assert (drift.verdicts[0].key.service, len(drift.verdicts[0].feature_distance)) == ("digits", 4)
    assert len({event.id for event in drift.sink.events}) == len(drift.sink.events)


async def test_a_shift_opens_an_alert_and_ordinary_rows_resolve_it(ks: Artifact, tmp_path: Path) -> None:
    shifted = request_event(normal_rows(50, 61) + 1.5, "shifted", at(60))
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(normal_rows(50, 60), "a", at(0)), shifted, later(70))
        await wait_until(lambda: drift.view()[2:] == (2, 0))
        (key,) = drift.keys.values()
        assert (key["state"], key["alert"], key["quiet"]) == (f"alert open since {at(60)}", at(60), 0)
        assert [event.type.rpartition(".")[2] for event in drift.sink.events] == ["drift", "drift", "opened"]
        await drift.take(*(request_event(normal_rows(50, n), f"q{n}", at(n)) for n in range(100, 500, 100)), later(900))
        await wait_until(lambda: drift.view()[2:] == (6, 0))
        (key,) = drift.keys.values()
        assert (key["alert"], key["state"]) == (None, f"quiet for {key['quiet']} windows")
        assert (key["drifted"], key["last"]["outcome"]) == (1, "no_drift")
        counted = {name: sample_of(drift.metrics, "alerts_total", outcome=name) for name in ("opened", "resolved")}
        assert counted == {"opened": 1, "resolved": 1}
    assert [verdict.is_drift for verdict in drift.verdicts][:2] == [False, True]


def sample_of(metrics: Any, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"wayside_detector_{name}", labels) or 0.0


async def test_keys_have_windows_of_their_own(ks: Artifact, tmp_path: Path) -> None:
    hostile = "a/b%2F/c"
    async with drift_in(tmp_path, ks) as drift:
        for extensions in ({}, {"endpoint": "canary"}, {"revision": "2"}):
            await drift.take(*traffic([49], **extensions))
        await drift.take(*traffic([50], namespace=hostile))
        await wait_until(lambda: drift.view() == (201, 50, 1, 0))
    assert drift.sink.events[0].extensions["namespace"] == hostile


async def test_a_key_says_that_it_warms_up(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(normal_rows(30, 1), "1", at(0)))
        (key,) = drift.keys.values()
        assert key["state"] == "warming up: 30 of 50 rows"
        assert key["watermark"] == "2025-12-31T23:59:58.000000000Z"


async def test_redelivery_changes_nothing_and_other_bytes_are_kept_apart(ks: Artifact, tmp_path: Path) -> None:
    event, other = request_event(normal_rows(30, 1), "1", at(0)), request_event(normal_rows(30, 2), "1", at(0))
    async with drift_in(tmp_path, ks) as drift:
        assert await drift.take(event, event, other, other) == ["scored", "duplicate", "conflict", "conflict"]
        await drift.take(request_event(normal_rows(20, 3), "2", at(0)), later(9))
        await wait_until(lambda: drift.view() == (51, 50, 1, 0))
        assert await drift.take(event, other) == ["duplicate", "conflict"], "also once its rows are spent"
    async with drift_in(tmp_path, ks) as drift:
        assert await drift.take(event) == ["duplicate"], "and after a restart"
    assert table(tmp_path, "SELECT source, id, data FROM conflict") == [(other.source, other.id, other.data)]


async def test_what_is_too_old_to_be_known_again_is_late(ks: Artifact, tmp_path: Path) -> None:
    events = [request_event(normal_rows(1, n), f"old {n}", at(n)) for n in range(200)]
    now = [request_event(normal_rows(1, n), f"new {n}", at(2 * DAY_S + n)) for n in range(200)]
    async with drift_in(tmp_path, ks, terms=DriftTerms(remember_s=DAY_S)) as drift:
        assert set(await drift.take(*events, *now)) == {"scored"}
        known = [name for (name,) in table(tmp_path, "SELECT time_ns FROM taken ORDER BY 1")]
        assert len(known) < 300, "identities are forgotten in their time"
        assert await drift.take(now[0], events[0]) == ["duplicate", "late"]
        assert drift.service.view()["too_old"] == {"events": 1, "rows": 1}


async def test_late_rows_are_counted_and_in_no_window(ks: Artifact, tmp_path: Path) -> None:
    behind = request_event(normal_rows(7, 5), "behind", at(10))
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(*traffic([50, 49]), later(3600), behind)
        await wait_until(lambda: drift.view()[2:] == (2, 0))
        (key,) = drift.keys.values()
        assert (key["rows"], key["late"], key["in_windows"], key["open"]) == (108, 7, 100, 1)
        assert sample_of(drift.metrics, "window_rows_total", fate="late") == 7
    assert "behind" not in {part.id for verdict in drift.verdicts for part in verdict.members}


async def test_any_order_within_the_watermark_gives_the_same_verdicts(ks: Artifact, tmp_path: Path) -> None:
    events = [request_event(normal_rows(13, n), f"e{n}", at(n / 100)) for n in range(50)]
    end = later(60)
    async with drift_in(tmp_path / "plain", ks) as plain:
        await plain.take(*events, end)
        await wait_until(lambda: plain.view() == (651, 650, 13, 0))
    shuffled = [events[at] for at in np.random.default_rng(7).permutation(50)]
    async with drift_in(tmp_path / "shuffled", ks) as other:
        await asyncio.gather(*(other.take(event) for event in shuffled))
        await other.take(end)
        await wait_until(lambda: other.view() == (651, 650, 13, 0))
    assert other.sink.events == plain.sink.events


async def test_the_outbox_outlasts_a_sink_that_is_down(ks: Artifact, tmp_path: Path) -> None:
    sink = MemorySink(failures=[SinkUnavailable("down"), SinkUnavailable("still", retry_after_s=0.001)] * 3)
    async with drift_in(tmp_path, ks, sink) as drift:
        await drift.take(*traffic([100]))
        await wait_until(lambda: drift.view() == (101, 100, 2, 0))
    assert len({event.id for event in sink.events}) == len(sink.events) >= 2


async def test_a_refused_verdict_is_kept_and_holds_up_nothing(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks, MemorySink(failures=[EventRefused("no such broker")])) as drift:
        await drift.take(*traffic([100]))
        await wait_until(lambda: len(drift.verdicts) == 1 and drift.view() == (101, 100, 2, 0))
        assert drift.service.view()["refused"] == 1


async def test_what_was_not_posted_is_posted_after_a_restart(ks: Artifact, tmp_path: Path) -> None:
    down = MemorySink(failures=[SinkUnavailable("down")] * 100_000)
    events = traffic([60, 60, 60])
    async with drift_in(tmp_path, ks, down) as drift:
        await drift.take(*events[:2], later(4))
        await wait_until(lambda: drift.view()[:3] == (121, 100, 2))
    async with drift_in(tmp_path, ks) as drift:
        (key,) = drift.keys.values()
        assert (key["rows"], key["windows"], key["last"]["window"]["first"]) == (121, 2, 50)
        await drift.take(*events[:2], request_event(normal_rows(29, 9), "more", at(4)), later(8))
        await wait_until(lambda: drift.view() == (151, 150, 3, 0))
    assert [verdict.first for verdict in drift.verdicts] == [0, 50, 100]


async def test_the_same_journal_gives_the_same_bytes(ks: Artifact, tmp_path: Path) -> None:
    """As a crash before anything was judged would leave it."""
    down = MemorySink(failures=[SinkUnavailable("down")] * 100_000)
    async with drift_in(tmp_path / "again", ks, down) as first:
        await first.take(*traffic([1, 48]))
    async with drift_in(tmp_path / "plain", ks) as plain:
        await plain.take(*traffic([1, 48]), *(request_event(normal_rows(99, n), f"m{n}", at(60 + n)) for n in range(4)))
        await plain.take(later(100))
        await wait_until(lambda: plain.view()[2:] == (8, 0))
    async with drift_in(tmp_path / "again", ks) as again:
        await again.take(*(request_event(normal_rows(99, n), f"m{n}", at(60 + n)) for n in range(4)), later(100))
        await wait_until(lambda: again.view()[2:] == (8, 0))
    assert again.sink.events == plain.sink.events


async def test_rows_are_forgotten_once_no_window_needs_them(ks: Artifact, tmp_path: Path) -> None:
    events = traffic([30] * 20)
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(*events)
        await wait_until(lambda: drift.view() == (601, 600, 12, 0))
        assert table(tmp_path, "SELECT id, rows FROM arrival") == [("later 20", 1)]
        assert set(await drift.take(*events)) == {"duplicate"}


@pytest.mark.parametrize(
    ("limits", "evicted"),
    [(WindowLimits(keys=2), "a"), (WindowLimits(idle_s=3600.0), "a"), (WindowLimits(all_bytes=50 * 4 * 8), "a")],
    ids=["too many", "idle", "too much"],
)
async def test_the_idlest_key_is_given_up_and_counted(
    ks: Artifact, tmp_path: Path, limits: WindowLimits, evicted: str
) -> None:
    moments = {"a": 0, "b": 10, "c": 7200} if limits.idle_s == 3600.0 else {"a": 0, "b": 1, "c": 2}
    if limits.idle_s == 3600.0:
        moments["b"] = 7000
    events = [
        request_event(normal_rows(20, n), name, at(s), endpoint=name) for n, (name, s) in enumerate(moments.items())
    ]
    async with drift_in(tmp_path, ks, terms=DriftTerms(limits)) as drift:
        await drift.take(*events)
        await wait_until(lambda: drift.service.view()["gone"]["keys"] == 1)
        assert sorted(key[0] for key in drift.keys) == ["b", "c"]
        account = drift.service.view()["gone"]
        assert (account["rows"], account["evicted"]) == (20, 20)
        assert table(tmp_path, "SELECT id FROM arrival ORDER BY 1") == [("b",), ("c",)]
        await drift.take(request_event(normal_rows(5, 9), "again", at(7201), endpoint=evicted))
    async with drift_in(tmp_path, ks, terms=DriftTerms(limits)) as drift:
        rows = sum(key["rows"] for key in drift.keys.values()) + drift.service.view()["gone"]["rows"]
        assert rows == 65, "the balance holds over a restart"


def test_room_is_bounded_by_key_and_in_all() -> None:
    keys = [WindowKey(ServiceKey("", "", "", name)) for name in "abc"]
    room = Room(100, 150)
    room.admit(keys[0], 90)
    for key, size in ((keys[0], 11), (keys[1], 61)):
        with pytest.raises(QueueFull):
            room.admit(key, size)
    room.admit(keys[1], 60)
    room.withdraw(keys[0], 90)
    room.admit(keys[2], 90)
    assert room.used_bytes == 150


async def test_too_much_for_now_is_refused_and_nothing_is_lost(ks: Artifact, tmp_path: Path) -> None:
    limits = WindowLimits(key_bytes=50 * 32, all_bytes=50 * 32)
    async with drift_in(tmp_path, ks, terms=DriftTerms(limits)) as drift:
        outcomes = await asyncio.gather(
            *(drift.take(request_event(normal_rows(20, n), str(n), at(n))) for n in range(20)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, QueueFull)]
        assert 0 < len(refused) < 20
        taken = 20 * (20 - len(refused))
        await wait_until(lambda: drift.view()[0] == taken)


async def test_a_disk_that_fails_for_a_while_loses_no_window(ks: Artifact, tmp_path: Path) -> None:
    """The file is locked by another, as good as a full disk: what could be stored comes to its verdict once it ends."""
    async with drift_in(tmp_path, ks) as drift:
        events = traffic([30, 30])
        await drift.take(events[0])
        with closing(sqlite3.connect(tmp_path / "drift.sqlite")) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT raise(FAIL, 'disk is full'); END"
            )
            connection.commit()
            await drift.take(*events[1:])
            await wait_until(lambda: drift.view()[1] == 50)
            assert drift.view()[2:] == (0, 0)
            connection.execute("DROP TRIGGER full")
            connection.commit()
        await wait_until(lambda: drift.view() == (61, 50, 1, 0))
    assert len(drift.verdicts) == 1


async def test_an_event_that_the_disk_does_not_take_harms_none_beside_it(ks: Artifact, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    async with drift_in(tmp_path, ks) as drift:
        with closing(sqlite3.connect(tmp_path / "drift.sqlite")) as connection:
            connection.execute(
                "CREATE TRIGGER one BEFORE INSERT ON arrival WHEN new.id = 'b' BEGIN SELECT raise(FAIL, 'no'); END"
            )
            connection.commit()
        events = [request_event(normal_rows(25, n), name, at(n)) for n, name in enumerate(names)]
        told = await asyncio.gather(*(drift.take(event) for event in events), return_exceptions=True)
        assert [isinstance(each, sqlite3.Error) for each in told] == [False, True, False, False]
        await drift.take(later(60))
        await wait_until(lambda: drift.view() == (76, 50, 1, 0))
    assert {part.id for verdict in drift.verdicts for part in verdict.members} == {"a", "c"}


async def test_seldons_events_are_known_by_its_puid(ks: Artifact, tmp_path: Path) -> None:
    named = request_event(normal_rows(50, 1), "a", at(0), requestid="puid")
    first, again = replace(named, type=SELDON_REQUEST), replace(named, type=SELDON_REQUEST, id="b")
    async with drift_in(tmp_path, ks) as drift:
        assert await drift.take(first, again, later(9)) == ["scored", "duplicate", "scored"]
        await wait_until(lambda: drift.view()[2:] == (1, 0))
    (member,) = drift.verdicts[0].members
    assert (member.source.startswith("seldon:"), member.id) == (True, "puid")


@pytest.mark.parametrize(
    ("side", "event_type", "data"),
    [
        (Side.VERDICT, OUTLIER, b'{"data": {"p_value": [0.5, 0.25]}, "meta": {}}'),
        (Side.FEEDBACK, FEEDBACK, b'{"reward": 0.5}'),
    ],
    ids=["verdicts", "feedback"],
)
async def test_verdicts_and_feedback_are_rows_too(tmp_path: Path, side: Side, event_type: str, data: bytes) -> None:
    plan = FitSettings(name="drift", windows=WindowPlan.of_rows(10))
    artifact = fit_artifact("ks", Table.of(normal_rows(1000, 2, 1)), plan).artifact
    spoken_of = {SUBJECT_SOURCE: "http://model-predictor", SUBJECT_ID: "inference"}
    base = request_event([], "v", at(0), **spoken_of)
    async with drift_in(tmp_path, artifact, terms=DriftTerms(side=side)) as drift:
        assert await drift.take(replace(base, type=event_type, data=data)) == ["scored"]
    assert table(tmp_path, "SELECT source, id FROM arrival") == [("http://model-predictor", "inference")]


@pytest.mark.parametrize(
    ("reader", "match"),
    [
        (Reader(WHO, 9), "holds rows of 4 features of each request, the detector needs 9 of each request"),
        (Reader(WHO, 4, Side.PAIR), "4 features of each request, the detector needs 4 of each pair"),
    ],
    ids=["width", "side"],
)
async def test_a_journal_of_other_rows_is_refused(ks: Artifact, tmp_path: Path, reader: Reader, match: str) -> None:
    async with drift_in(tmp_path, ks):
        with pytest.raises(ConfigurationError, match="in use by"):
            await DriftStore(tmp_path, Reader(ks.identity(), 4)).start()
    with pytest.raises(ConfigurationError, match=match):
        await DriftStore(tmp_path, reader).start()


async def test_a_journal_of_an_earlier_wayside_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "drift.sqlite")) as connection:
        connection.execute("CREATE TABLE row_log (key TEXT)")
    with pytest.raises(ConfigurationError, match="earlier Wayside"):
        await DriftStore(tmp_path, Reader(WHO, 4)).start()


async def test_another_artifact_begins_its_own_windows(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(*traffic([60]))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
    plan = FitSettings(name="drift", windows=WindowPlan.of_rows(20))
    other = fit_artifact("ks", Table.of(normal_rows(1000, 3)), plan).artifact
    async with drift_in(tmp_path, other) as drift:
        assert drift.keys == {}
        gone = drift.service.view()["gone"]
        assert (gone["rows"], gone["in_windows"] + gone["evicted"], gone["windows"]) == (61, 61, 1)
        assert await drift.take(*traffic([60])) == ["duplicate", "duplicate"]
        await drift.take(request_event(normal_rows(20, 1), "n", at(60)), later(70))
        await wait_until(lambda: drift.view() == (21, 20, 1, 0))


async def test_rows_count_under_their_outcome(ks: Artifact, tmp_path: Path) -> None:
    rows = normal_rows(50, 1)
    rows[:3, 2] = np.nan
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(rows, "1", at(0)), later(9))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
        assert sample(drift.metrics, "rows_total") == 51
        assert sample_of(drift.metrics, "missing_values_total") == 3
