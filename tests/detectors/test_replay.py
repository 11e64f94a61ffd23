"""`wayside replay`: the verdicts of services, byte for byte, from every place where events are kept; every event has a
fate."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.stateful import open_stateful
from wayside.eventing import json_format
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import FakeClock, parse_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.names import BrokerName
from wayside.eventing.vocabulary import RESPONSE
from wayside.local.replay.cli import main
from wayside.local.replay.known import KnownEvents, Meeting
from wayside.sinks.embedded.store import RecordStore

from .conftest import at, drift_in, later, normal_rows, request_event, serve_rows, wait_until

WINDOW = 50


def traffic() -> list[CloudEvent]:
    """Two endpoints, a shift, events out of order within the watermark, and one that is late."""
    rng = np.random.default_rng(7)
    seconds = [at_s + 1.5 * rng.random() for at_s in range(60)]
    rows = [normal_rows(int(rng.integers(1, 30)), n) + (1.5 if n > 40 else 0) for n in range(60)]
    told = [(f"e{n}", seconds[n], rows[n], "default" if n % 3 else "canary") for n in range(60)]
    events = [request_event(each, name, at(second), endpoint=endpoint) for name, second, each, endpoint in told]
    late = request_event(normal_rows(3, 99), "late", at(1), endpoint="default")
    return [*events, late, later(100, endpoint="default"), later(100, event_id="z", endpoint="canary")]


def write(path: Path, events: Iterable[CloudEvent]) -> Path:
    path.write_bytes(b"".join(json_format.encode(event) + b"\n" for event in events))
    return path


def folder_of(artifact: Artifact, folder: Path) -> str:
    save(artifact, folder)
    return str(folder)


def replayed(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[list[bytes], str]:
    """The lines, and what was said on stderr."""
    capsys.readouterr()
    assert main([str(each) for each in arguments], {}) == 0
    captured = capsys.readouterr()
    return captured.out.encode().splitlines(), captured.err


async def test_window_verdicts_and_alerts_are_the_services_byte_for_byte(
    ks: Artifact, ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = traffic()
    lines, told = replayed(ks_folder, write(tmp_path / "events.jsonl", events), capsys=capsys)
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(*events)
        await wait_until(lambda: len(drift.sink.events) >= len(lines) and not drift.view()[3])
        posted = [json_format.encode(event) for event in drift.sink.events]
        assert sum(key["windows"] for key in drift.keys.values()) == len(drift.verdicts)
    assert len(lines) > 10
    assert sorted(lines) == sorted(posted)
    assert any(b"alert.opened" in line for line in lines)
    assert "63 events: 62 taken, 1 late" in told


async def broker_folder(folder: Path, events: Iterable[CloudEvent], came: str = "2026-01-01T01:00:00Z") -> Path:
    store = BrokerStore(folder / "journal.db", 1 << 30, FakeClock(parse_time(came)))
    await store.start()
    broker = BrokerName("default", "default")
    await store.register([], [broker])
    for event in events:
        await store.add(Arrival(broker, event, 255, [], ()))
    await store.stop()
    return folder


async def test_every_place_where_events_are_kept_gives_the_same_verdicts(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = traffic()
    lines, _ = replayed(ks_folder, write(tmp_path / "a.jsonl", events), capsys=capsys)
    folder = tmp_path / "several"
    folder.mkdir()
    write(folder / "a.jsonl", events[:20])
    write(folder / "b.jsonl", events[20:])
    assert replayed(ks_folder, folder, capsys=capsys)[0] == lines
    assert replayed(ks_folder, folder / "a.jsonl", folder / "b.jsonl", capsys=capsys)[0] == lines
    log = tmp_path / "broker"
    log.mkdir()
    assert replayed(ks_folder, await broker_folder(log, events), capsys=capsys)[0] == lines


async def test_a_record_store_gives_the_windows_of_the_rows_that_it_holds(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [named(event) for event in traffic() if event.id != "late"]
    store = RecordStore(tmp_path / "records.sqlite")
    await store.start()
    for event in reversed(events):
        await store.take(event)
    await store.stop()
    lines, _ = replayed(ks_folder, write(tmp_path / "a.jsonl", events), capsys=capsys)
    for source in (tmp_path, tmp_path / "records.sqlite"):
        assert sorted(replayed(ks_folder, source, capsys=capsys)[0]) == sorted(lines)
    assert {json.loads(line).get("revision") for line in lines} == {"r/1", "2", None}


def named(event: CloudEvent) -> CloudEvent:
    """The event by one of two revisions of its endpoint, or by none."""
    revision = {"0": "r/1", "z": "r/1", "1": "2"}.get(event.id[-1])
    return replace(event, extensions={**event.extensions, **({"revision": revision} if revision else {})})


async def test_an_event_that_was_ahead_of_the_clock_when_it_came_is_refused(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [*traffic(), request_event(normal_rows(2, 1), "ahead", at(7200), endpoint="default")]
    folder = await broker_folder(tmp_path, events)
    _, told = replayed(ks_folder, folder, capsys=capsys)
    assert "1 refused" in told
    assert "ahead of the clock" in told


async def test_row_verdicts_are_the_services(
    mahalanobis: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [request_event(normal_rows(n % 40 + 1, n), f"e{n}", at(n)) for n in range(300)]
    source = write(tmp_path / "a.jsonl", events)
    lines, told = replayed(folder_of(mahalanobis, tmp_path / "rows"), source, capsys=capsys)
    async with serve_rows(mahalanobis) as service:
        for event, line in list(zip(events, lines, strict=True))[::30]:
            response = await service.post_event(event)
            assert json.loads(line)["data"] == json.loads(response.body)
    assert "300 taken" in told


async def test_a_detector_with_a_memory_judges_by_what_came_before(
    online: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [request_event(normal_rows(5, n), f"e{n}", at(n), endpoint="ab"[n % 2]) for n in range(40)]
    source = write(tmp_path / "a.jsonl", [*events, events[7], request_event([[0, 0, 0, 0]], "e8", at(8))])
    lines, told = replayed(folder_of(online, tmp_path / "online"), source, capsys=capsys)
    service = open_stateful(online, online.identity(), tmp_path, DetectorMetrics(), BatchLimits())
    await service.start()
    replies = [(await service.answer(event)).reply for event in events]
    await service.stop()
    assert lines == [json_format.encode(reply) for reply in replies if reply is not None]
    assert "40 taken, 1 duplicate, 1 conflict" in told


def test_every_event_has_a_fate(ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [*traffic(), traffic()[0]]
    source = write(tmp_path / "a.jsonl", events)
    extra = [
        CloudEvent(id="r", source="/m", type=RESPONSE, time=at(1), data=b"{}"),
        request_event([[1, 2]], "narrow", at(2)),
        request_event(normal_rows(1, 1), "cut", at(2), truncated="true"),
        request_event(normal_rows(1, 1), "no time", None),
    ]
    with source.open("ab") as file:
        file.write(b"".join(json_format.encode(event) + b"\n" for event in extra) + b"{not json\n")
    _, told = replayed(ks_folder, source, capsys=capsys)
    first = told.splitlines()[0]
    for fate in ("69 events", "62 taken", "1 late", "1 duplicate", "3 refused", "1 of another type", "1 cut off"):
        assert fate in first
    assert "first refused: a.jsonl, line 66" in told
    assert "rows/s" in told


@pytest.mark.parametrize(
    ("flags", "events"),
    [
        pytest.param(["--from-time", at(30)], slice(30, None), id="from"),
        pytest.param(["--to-time", at(30)], slice(0, 30), id="to"),
        pytest.param(["--from-time", at(10), "--to-time", at(20)], slice(10, 20), id="between"),
    ],
)
def test_event_time_chooses(
    flags: list[str], events: slice, ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [request_event(normal_rows(30, n), f"e{n}", at(n)) for n in range(60)]
    chosen, _ = replayed(ks_folder, write(tmp_path / "a.jsonl", rows), *flags, capsys=capsys)
    alone, _ = replayed(ks_folder, write(tmp_path / "b.jsonl", rows[events]), capsys=capsys)
    assert chosen == alone
    assert chosen


def test_the_name_is_the_services_and_a_file_is_written_whole(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write(tmp_path / "a.jsonl", traffic()), tmp_path / "out.jsonl"
    lines, _ = replayed(ks_folder, source, "--name", "other", capsys=capsys)
    assert {json.loads(line)["source"] for line in lines} == {"/wayside/detectors/other"}
    assert replayed(ks_folder, source, "--name", "other", "--out", out, capsys=capsys)[0] == []
    assert out.read_bytes().splitlines() == lines


def bad(*arguments: str, reason: str, name: str) -> Any:
    return pytest.param(arguments, reason, id=name)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        bad("absent", reason="there is no", name="no such source"),
        bad("a.jsonl", "--from-time", "soon", reason="neither a time", name="no time"),
        bad("a.jsonl", "--from-time", at(9), "--to-time", at(9), reason="not before", name="an empty span"),
        bad("a.jsonl", "--to-time", at(0), reason="nothing to judge", name="nothing in the span"),
        bad("a.jsonl", "--on", "response", reason="nothing to judge", name="nothing of that side"),
        bad("a.jsonl", "--on", "pair", reason="invalid choice", name="pairs"),
        bad("a.jsonl", "--out", "a.txt", reason="neither - nor", name="another format"),
        bad("a.jsonl", "--out", "a.jsonl", reason="among the sources", name="the source itself"),
        bad("a.jsonl", "--keys", "0", reason="--keys 0", name="no keys"),
        bad("a.jsonl", "--offsets", "0:1-2", reason="of one topic", name="offsets of no topic"),
        bad("kafka://h/t", "--offsets", "0:2-1", reason="not before", name="offsets that go back"),
        bad("kafka://h/t", "--offsets", "x", reason="PARTITION", name="no offsets"),
        bad("kafka://h/t", "--offsets", "0,0", reason="twice", name="a partition twice"),
        bad("kafka://h/t,u", "--offsets", "0", reason="of one topic", name="offsets of two topics"),
    ],
)
def test_what_cannot_be_replayed_exits_2_and_says_why(
    arguments: tuple[str, ...],
    reason: str,
    ks_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.jsonl"), traffic())
    assert main([str(ks_folder), *arguments], {}) == 2
    captured = capsys.readouterr()
    assert reason in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_a_reader_that_has_gone_ends_it(ks_folder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", traffic())
    command = [sys.executable, "-m", "wayside.local", "replay", str(ks_folder), str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_events_are_remembered_for_a_stretch_of_event_time() -> None:
    known, day_ns = KnownEvents(86400.0), 86400 * 10**9
    assert known.meet(b"a", b"1", day_ns) is Meeting.NEW
    assert known.meet(b"a", b"1", day_ns) is Meeting.DUPLICATE
    assert known.meet(b"a", b"2", day_ns) is Meeting.CONFLICT
    assert known.meet(b"b", b"1", 3 * day_ns) is Meeting.NEW
    assert known.meet(b"a", b"1", day_ns) is Meeting.LATE
    assert known.meet(b"c", b"1", 2 * day_ns) is Meeting.NEW
