"""Inputs beside predictions: joined over HTTP in any order and over a restart, and refused where they do not fit."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.service.intake import PairIntake
from wayside.detectors.drift.service.service import DriftService
from wayside.detectors.drift.service.store import DriftStore, Reader
from wayside.detectors.serving.judging_sink import JudgingSink
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.clock import Clock, FakeClock, SystemClock, parse_time
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs.join import JoinSettings
from wayside.eventing.sink import MemorySink
from wayside.eventing.vocabulary import REQUEST, RESPONSE, SELDON_REQUEST, SELDON_RESPONSE
from wayside.eventing.window_verdict import read_window_verdict

from .conftest import DriftTerms, Served, drift_in, later, normal_rows, request_event, serve_answering, wait_until

WINDOW = 50


def at(second: int) -> str:
    return f"2026-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def asked(rows: Any, name: str, second: int = 0) -> CloudEvent:
    return request_event(rows, name, at(second))


def answered(rows: Any, name: str, second: int = 0, **extensions: str) -> CloudEvent:
    event = request_event([], name, at(second + 1), requesttime=at(second), **extensions)
    body = b'{"predictions": ' + str(np.asarray(rows).tolist()).encode() + b"}"
    return CloudEvent(name, event.source, RESPONSE, body, event.time, "application/json", extensions=event.extensions)


def traffic(count: int, rows: int = 10) -> list[CloudEvent]:
    """Requests of 3 inputs and responses of 1 prediction a row: 4 features, as the artifact has."""
    return [
        event
        for n in range(count)
        for values in (normal_rows(rows, 40 + n),)
        for event in (asked(values[:, :3], f"{n:03d}", n), answered(values[:, 3:], f"{n:03d}", n))
    ]


@dataclass
class Pairs:
    """A drift service of pairs, what serves it, and what it posts to."""

    service: DriftService
    metrics: DetectorMetrics
    sink: MemorySink
    served: Served

    def unpaired(self, role: str, reason: str) -> float:
        labels = {"role": role, "reason": reason}
        return self.metrics.registry.get_sample_value("wayside_detector_unpaired_total", labels) or 0.0

    def parts(self) -> Any:
        return self.service.view()["pairs"]["parts"]

    def windows(self) -> list[tuple[int, int]]:
        return [(key["in_windows"], key["open"]) for key in self.service.view()["keys"]]


@asynccontextmanager
async def pairs_in(
    folder: Path,
    artifact: Artifact,
    sink: MemorySink | None = None,
    timeout_s: float = 60.0,
    clock: Clock | None = None,
) -> AsyncIterator[Pairs]:
    settings = JoinSettings(timeout_s=timeout_s)
    terms = DriftTerms(
        side=Side.PAIR,
        intake=lambda store, reader, room, metrics: PairIntake(
            store, reader, room, settings, metrics, clock or SystemClock()
        ),
    )
    async with drift_in(folder, artifact, sink, terms) as drift, serve_answering(drift.service) as served:
        yield Pairs(drift.service, drift.metrics, drift.sink, served)


def settling(second: int, rows: int = 1) -> list[CloudEvent]:
    """A pair of ordinary rows, by which all pairs two seconds before it are settled."""
    values = normal_rows(rows, 999)
    return [asked(values[:, :3], f"end {second}", second), answered(values[:, 3:], f"end {second}", second)]


async def post(pairs: Pairs, events: Sequence[CloudEvent]) -> list[int]:
    return [(await pairs.served.post_event(event)).status for event in events]


async def test_shuffled_parts_over_a_restart_give_the_windows_of_an_undisturbed_run(
    ks: Artifact, tmp_path: Path
) -> None:
    events = traffic(20)
    async with pairs_in(tmp_path / "plain", ks) as plain:
        assert set(await post(plain, [*events, *settling(40)])) == {202}
        await wait_until(lambda: plain.windows() == [(200, 1)] and len(plain.sink.events) == 4)
    ahead = [event for event in events if event.type == RESPONSE]
    random.Random(3).shuffle(ahead)
    arrivals = [*ahead, *(event for event in events if event.type == REQUEST)]
    sink = MemorySink()
    async with pairs_in(tmp_path / "shuffled", ks, sink) as first:
        assert set(await post(first, arrivals[:27])) == {202}
        assert first.parts()["response"] == {"joined": 7, "waiting": 13}
    async with pairs_in(tmp_path / "shuffled", ks, sink) as second:
        assert set(await post(second, [*arrivals[20:], *settling(40)])) == {202}, "some come again"
        await wait_until(lambda: second.windows() == [(200, 1)] and len(sink.events) == 4)
        assert second.parts() == {
            "request": {"duplicate": 7, "joined": 21},
            "response": {"joined": 21},
        }
    assert sink.events == plain.sink.events


async def test_seldons_parts_are_joined_by_its_puid(ks: Artifact, tmp_path: Path) -> None:
    """Each of its events has an id of its own."""
    rows = normal_rows(WINDOW, 9)
    request = replace(asked(rows[:, :3], "a"), type=SELDON_REQUEST)
    response = replace(answered(rows[:, 3:], "b"), type=SELDON_RESPONSE)
    async with pairs_in(tmp_path, ks) as pairs:
        nameless = await post(pairs, [request])
        statuses = await post(pairs, [event.with_extensions(requestid="puid") for event in (request, response)])
        await post(pairs, settling(9))
        await wait_until(lambda: len(pairs.sink.events) == 1)
        (member,) = read_window_verdict(pairs.sink.events[0]).members
    assert (nameless, statuses) == ([400], [202, 202])
    assert (member.source.startswith("seldon:"), member.id, member.end_row) == (True, "puid", WINDOW)


async def test_a_pair_has_the_requests_identity_time_and_rows(ks: Artifact, tmp_path: Path) -> None:
    rows = normal_rows(WINDOW, 9)
    async with pairs_in(tmp_path, ks) as pairs:
        await post(pairs, [answered(rows[:, 3:], "a", 7), asked(rows[:, :3], "a", 7), *settling(20)])
        await wait_until(lambda: len(pairs.sink.events) == 1)
    async with drift_in(tmp_path / "whole", ks) as whole:
        await whole.take(asked(rows, "a", 7), later(20))
        await wait_until(lambda: len(whole.sink.events) == 1)
    assert pairs.sink.events == whole.sink.events
    assert read_window_verdict(pairs.sink.events[0]).members[0].time == at(7)


async def test_what_does_not_fit_its_partner_is_refused_and_counted(ks: Artifact, tmp_path: Path) -> None:
    rows = normal_rows(10, 1)
    async with pairs_in(tmp_path, ks) as pairs:
        await post(pairs, [asked(rows[:, :3], "a"), asked(rows[:, :2], "b")])
        short = await pairs.served.post_event(answered(rows[:9, 3:], "a"))
        assert (short.status, short.body) == (
            400,
            b"request has 10 rows, its response 9: a pair needs a prediction a row\n",
        )
        narrow = await pairs.served.post_event(answered(rows[:, 3:], "b"))
        assert (narrow.status, b"2 inputs and 1 predictions" in narrow.body) == (400, True)
        wide = await pairs.served.post_event(asked(rows, "c"))
        assert (wide.status, b"needs some of the other side" in wide.body) == (400, True)
        assert pairs.served.count("malformed") == 3
        assert await post(pairs, [answered(rows[:, 3:], "a")]) == [202], "its partner still waits"
        assert pairs.parts() == {"request": {"joined": 1, "waiting": 1}, "response": {"joined": 1}}


async def test_lonely_late_duplicate_and_other_parts_are_counted_and_told(
    ks: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = normal_rows(1, 1)
    inputs, predictions = rows[:, :3], rows[:, 3:]
    async with pairs_in(tmp_path, ks, timeout_s=10) as pairs:
        await post(pairs, [asked(inputs, "a", 0), asked(inputs, "a", 0), asked(inputs + 1, "a", 0)])
        await post(pairs, [answered(predictions, "b", 1), asked(inputs, "z", 100), answered(predictions, "a", 0)])
        found = {
            (role, reason): pairs.unpaired(role, reason)
            for role in ("request", "response")
            for reason in ("lonely", "late", "duplicate", "conflict", "overflow")
        }
        assert {key: count for key, count in found.items() if count} == {
            ("request", "lonely"): 1,
            ("request", "duplicate"): 1,
            ("request", "conflict"): 1,
            ("response", "lonely"): 1,
            ("response", "late"): 1,
        }
        assert pairs.parts() == {
            "request": {"conflict": 1, "duplicate": 1, "lonely": 1, "waiting": 1},
            "response": {"late": 1, "lonely": 1},
        }
        assert [pairs.served.count(outcome) for outcome in ("waiting", "late", "duplicate", "conflict")] == [3, 1, 1, 1]
    assert "given up without their partner (lonely), the last is the request of a" in caplog.text
    assert "the last is the response of b" in caplog.text


async def test_one_bad_clock_makes_nobody_else_late(ks: Artifact, tmp_path: Path) -> None:
    """A little ahead counts as of now in the join; far ahead is refused."""
    rows = normal_rows(1, 1)
    now = FakeClock(parse_time(at(100)))
    async with pairs_in(tmp_path, ks, timeout_s=10, clock=now) as pairs:
        ahead = [asked(rows[:, :3], f"ahead {second}", second) for second in (102, 160, 399, 401, 3600)]
        assert await post(pairs, ahead) == [202, 202, 202, 400, 400]
        await post(pairs, [asked(rows[:, :3], "honest", 99), answered(rows[:, 3:], "honest", 99)])
        assert pairs.parts() == {"request": {"joined": 1, "waiting": 3}, "response": {"joined": 1}}


async def test_pulled_events_are_joined_alike(ks: Artifact, tmp_path: Path) -> None:
    async with pairs_in(tmp_path, ks) as pairs:
        sink = JudgingSink(pairs.service.answer, pairs.metrics, types=Side.PAIR.types)
        for event in [*traffic(5), CloudEvent("1", "s", "com.example.other"), *settling(20)]:
            await sink.send(event)
        await wait_until(lambda: pairs.windows() == [(50, 1)])
        assert [pairs.served.count(outcome) for outcome in ("scored", "waiting", "ignored")] == [6, 6, 1]


async def test_a_model_that_failed_makes_no_pair(ks: Artifact, tmp_path: Path) -> None:
    """Neither over HTTP nor pulled: its request waits, and is lonely in the end."""
    rows = normal_rows(1, 1)
    failed = [answered(rows[:, 3:], name, statuscode="500") for name in ("a", "b")]
    async with pairs_in(tmp_path, ks) as pairs:
        await post(pairs, [asked(rows[:, :3], "a"), failed[0], asked(rows[:, :3], "b")])
        await JudgingSink(pairs.service.answer, pairs.metrics, types=Side.PAIR.types).send(failed[1])
        assert pairs.parts() == {"request": {"waiting": 2}}
        assert pairs.served.count("ignored") == 2


async def test_a_folder_of_requests_takes_no_pairs(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(normal_rows(3, 1)))
    with pytest.raises(ConfigurationError, match=r"4 features of each request, the detector needs 4 of each pair"):
        await DriftStore(tmp_path, Reader(ks.identity(), 4, Side.PAIR)).start()


async def test_a_part_without_rows_or_time_is_refused(ks: Artifact, tmp_path: Path) -> None:
    async with pairs_in(tmp_path, ks) as pairs:
        for bad in (asked([], "a"), request_event(normal_rows(1, 1)[:, :3], time_text=None)):
            with pytest.raises(MalformedEvent):
                await pairs.service.answer(bad)
        assert pairs.parts() == {}
