"""The stateful service: judged once, in order, by each key's own memory; what it refuses, forgets and keeps apart."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.serving.answering import OutlierType, Wanted
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.stateful import StatefulService, StreamJudge, open_stateful
from wayside.detectors.serving.stateful_store import StoreLimits
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError, MalformedEvent, QueueFull, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.verdict import read_row_verdict
from wayside.eventing.vocabulary import RESPONSE

from .conftest import FEATURES, normal_rows, request_event

SERVER = Path(__file__).with_name("stateful_crash_server.py")


@asynccontextmanager
async def served(
    artifact: Artifact, folder: Path, limits: BatchLimits | None = None, kept: StoreLimits | None = None
) -> AsyncIterator[StatefulService]:
    metrics = DetectorMetrics()
    service = open_stateful(artifact, artifact.identity(), folder, metrics, limits or BatchLimits(), kept=kept)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        await service.stop()


def some(number: int, rows: int = 3, **extensions: str) -> CloudEvent:
    return request_event(normal_rows(rows, number), f"e{number}", **extensions)


def view(service: StatefulService) -> dict[str, Any]:
    return dict(service.views["/memories"]())


def wire(event: CloudEvent | None) -> Any:
    assert event is not None
    return encode_binary(event)


async def test_an_event_is_judged_once_and_told_the_same_again(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        first = await service.answer(some(1))
        await service.answer(some(2))
        again = await service.answer(some(1))
        assert (first.outcome, again.outcome) == ("scored", "duplicate")
        assert wire(again.reply) == wire(first.reply)
        assert view(service)["judged"] == 2
    async with served(online, tmp_path) as service:
        assert wire((await service.answer(some(1))).reply) == wire(first.reply)


async def test_verdicts_depend_on_what_came_before(online: Artifact, tmp_path: Path) -> None:
    far = [request_event(normal_rows(40, at) + 2.0, f"f{at}") for at in range(20)]
    probe = request_event([[3.0] * FEATURES], "probe")
    async with served(online, tmp_path / "a") as service:
        before = (await service.answer(probe)).reply
    async with served(online, tmp_path / "b") as service:
        for event in far:
            await service.answer(event)
        after = (await service.answer(probe)).reply
    assert before is not None
    assert after is not None
    assert read_row_verdict(before).scores > read_row_verdict(after).scores
    assert before.id == after.id


async def test_each_key_has_a_memory_of_its_own(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path / "one") as service:
        alone = [wire((await service.answer(some(at, endpoint="a"))).reply) for at in range(5)]
    async with served(online, tmp_path / "two") as service:
        beside = []
        for at in range(5):
            await service.answer(request_event(normal_rows(9, at) * 5, f"other{at}", endpoint="b"))
            beside.append(wire((await service.answer(some(at, endpoint="a"))).reply))
        assert [(key["key"], key["events"]) for key in view(service)["keys"]] == [
            ("default/digits/predictor/a", 5),
            ("default/digits/predictor/b", 5),
        ]
    assert alone == beside


async def test_events_that_arrive_together_are_judged_in_order_of_arrival(online: Artifact, tmp_path: Path) -> None:
    events = [some(at) for at in range(50)]
    async with served(online, tmp_path / "one") as service:
        together = await asyncio.gather(*(service.answer(event) for event in events))
    async with served(online, tmp_path / "two") as service:
        in_turn = [await service.answer(event) for event in events]
    assert [wire(answer.reply) for answer in together] == [wire(answer.reply) for answer in in_turn]


async def test_the_same_key_with_other_bytes_is_kept_apart(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        await service.answer(some(1))
        before = view(service)
        for _ in range(2):
            conflict = await service.answer(replace(some(1), data=some(2).data))
            assert (conflict.outcome, conflict.reply) == ("conflict", None)
        assert view(service) == before | {"conflicts": 1}
        predictions = some(1).data.replace(b"instances", b"predictions")
        another = await service.answer(replace(some(1), type=RESPONSE, data=predictions))
        assert another.outcome == "scored"


@pytest.mark.parametrize(
    "event",
    [
        request_event([[1.0] * (FEATURES + 1)]),
        request_event([]),
        request_event([["a"] * FEATURES]),
        replace(request_event([[0.0] * FEATURES]), data=b"{"),
        request_event([[0.0] * FEATURES], time_text=None),
    ],
    ids=["wide", "empty", "text", "json", "timeless"],
)
async def test_what_cannot_be_judged_changes_nothing(event: CloudEvent, online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        before = view(service)
        bad, good = await asyncio.gather(service.answer(event), service.answer(some(7)), return_exceptions=True)
        assert isinstance(bad, MalformedEvent)
        assert getattr(good, "outcome", good) == "scored"
        assert view(service)["judged"] == before["judged"] + 1


@pytest.mark.parametrize("wanted", [Wanted(feature_scores=True), Wanted(outlier_type=OutlierType.FEATURE)], ids=str)
async def test_a_verdict_has_no_feature_scores_whatever_is_wanted(
    wanted: Wanted, online: Artifact, tmp_path: Path
) -> None:
    async with served(online, tmp_path / "a") as asked, served(online, tmp_path / "b") as plain:
        assert await asked.answer(some(1), wanted) == await plain.answer(some(1))


@pytest.mark.parametrize("value", [None, float("inf"), float("nan")])
async def test_a_row_that_does_not_fit_is_an_error_and_is_not_learned(
    value: float | None, online: Artifact, tmp_path: Path
) -> None:
    rows = normal_rows(3, 3).tolist()
    async with served(online, tmp_path / "a") as with_it, served(online, tmp_path / "b") as without:
        bad = (await with_it.answer(request_event([*rows, [0.0, value, 0.0, 0.0]], "e"))).reply
        good = (await without.answer(request_event(rows, "e"))).reply
        after = [(await service.answer(some(5))).reply for service in (with_it, without)]
    assert bad is not None
    assert good is not None
    judged = read_row_verdict(bad)
    assert (judged.scores, judged.decisions[-1]) == ([*read_row_verdict(good).scores, None], True)
    assert "column 2" in json.loads(bad.data)["data"]["error"][-1]
    assert after[0] == after[1]


async def test_a_row_whose_score_is_not_finite_is_an_error_and_harms_none(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        reply = (await service.answer(request_event([[0.0] * FEATURES, [1e200] * FEATURES]))).reply
        assert reply is not None
        verdict = read_row_verdict(reply)
        assert verdict.scores[1] is None
        assert verdict.decisions == [False, True]
        after = (await service.answer(some(5))).reply
        assert after is not None
        assert None not in read_row_verdict(after).scores


async def test_more_than_can_wait_is_refused(online: Artifact, tmp_path: Path) -> None:
    for limits in (BatchLimits(queue_requests=3), BatchLimits(queue_bytes=3 * len(some(1).data))):
        async with served(online, tmp_path / str(limits.queue_requests), limits) as service:
            events = [some(1), *(replace(some(1), id=f"{at}") for at in range(7))]
            answers = await asyncio.gather(*map(service.answer, events), return_exceptions=True)
            assert [type(answer) for answer in answers[3:]] == [QueueFull] * 5
            assert view(service)["judged"] == 3


async def test_an_event_that_nobody_waits_for_is_judged_all_the_same(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        asked = asyncio.create_task(service.answer(some(1)))
        await asyncio.sleep(0)
        asked.cancel()
        assert (await asyncio.gather(asked, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        assert (await service.answer(some(1))).outcome == "duplicate"


async def test_a_stop_finishes_what_was_admitted(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        asked = [asyncio.create_task(service.answer(some(at))) for at in range(5)]
        await asyncio.sleep(0)
        await service.stop()
        assert [answer.outcome for answer in await asyncio.gather(*asked)] == ["scored"] * 5
        with pytest.raises(WaysideError, match="not open"):
            await service.answer(some(9))


async def test_the_key_least_recently_used_is_forgotten_and_starts_anew(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path, kept=StoreLimits(memories=2)) as service:
        first = (await service.answer(request_event(normal_rows(3, 1), "1", endpoint="a"))).reply
        for number, endpoint in enumerate("bac"):
            await service.answer(some(number + 10, endpoint=endpoint))
        assert [key["key"][-1] for key in view(service)["keys"]] == ["c", "a"]
        again = (await service.answer(request_event(normal_rows(3, 1), "2", endpoint="b"))).reply
        assert first is not None
        assert again is not None
        assert read_row_verdict(again) == read_row_verdict(first)
        value = service.metrics.registry.get_sample_value
        assert value("wayside_detector_memories_evicted_total") == 2


@pytest.mark.parametrize("kept", [StoreLimits(verdicts=3), StoreLimits(verdict_bytes=3500)], ids=["number", "bytes"])
async def test_an_event_is_known_until_so_many_came_after_it(
    kept: StoreLimits, online: Artifact, tmp_path: Path
) -> None:
    async with served(online, tmp_path, kept=kept) as service:
        for number in range(6):
            await service.answer(some(number))
        held = view(service)["verdicts_kept"]
        assert 2 <= held <= 3
        outcomes = [(await service.answer(some(number))).outcome for number in range(6 - held, 6)]
        assert outcomes == ["duplicate"] * held
        assert (await service.answer(some(0))).outcome == "scored"
        assert service.metrics.registry.get_sample_value("wayside_detector_verdicts_forgotten_total") == 7 - held


async def test_another_artifact_starts_anew_beside_the_old_memory(online: Artifact, tmp_path: Path) -> None:
    other = fit_artifact("mahalanobis-online", Table.of(normal_rows(2400, 2)), FitSettings()).artifact
    async with served(online, tmp_path) as service:
        first = await service.answer(some(1))
        await service.answer(some(2))
    async with served(other, tmp_path) as service:
        assert wire((await service.answer(some(1))).reply) == wire(first.reply)  # judged once, by whom it was
        assert (await service.answer(some(3))).outcome == "scored"
        assert [key["events"] for key in view(service)["keys"]] == [1, 2]


async def test_a_second_owner_is_refused_in_words(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        second = open_stateful(online, online.identity(), tmp_path, DetectorMetrics(), BatchLimits())
        with pytest.raises(ConfigurationError, match="in use by process"):
            await second.start()
        await second.stop()
        assert (await service.answer(some(1))).outcome == "scored"


async def test_a_second_process_is_refused(online: Artifact, tmp_path: Path) -> None:
    save(online, tmp_path / "artifact")
    async with served(online, tmp_path / "data"):
        command = [sys.executable, str(SERVER), str(tmp_path / "artifact"), str(tmp_path / "data")]
        done = await asyncio.to_thread(subprocess.run, command, input=b"\n", capture_output=True, timeout=60)
    assert b"in use by process" in done.stderr
    assert done.stdout == b"ended\n"


async def test_a_file_that_is_none_is_refused_and_left_unlocked(online: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "stateful-outlier.sqlite"
    path.write_bytes(b"no database" * 1000)
    service = open_stateful(online, online.identity(), tmp_path, DetectorMetrics(), BatchLimits())
    with pytest.raises(ConfigurationError, match="cannot open the store"):
        await service.start()
    assert not service.checks["store"]()
    path.unlink()
    await service.start()
    assert service.checks["store"]()
    await service.stop()


async def test_a_memory_of_another_size_is_an_error_not_a_verdict(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        await service.answer(some(1))
    with closing(sqlite3.connect(tmp_path / "stateful-outlier.sqlite")) as connection, connection:
        connection.execute("UPDATE memory SET value = x'00'")
    async with served(online, tmp_path) as service:
        with pytest.raises(WaysideError, match="a memory has 1 bytes"):
            await service.answer(some(2))
        assert view(service)["judged"] == 1


def test_what_has_no_memory_or_no_folder_is_refused(knn: Artifact, online: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="knn keeps no memory"):
        StreamJudge.of(knn, knn.identity())
    with pytest.raises(ConfigurationError, match="needs --data"):
        open_stateful(online, online.identity(), None, DetectorMetrics(), BatchLimits())
    with pytest.raises(ConfigurationError, match="at least one"):
        StoreLimits(verdicts=0)


async def test_large_events_and_rows_are_counted(online: Artifact, tmp_path: Path) -> None:
    async with served(online, tmp_path) as service:
        rows = np.vstack([normal_rows(3000, 4), np.full((1, FEATURES), 50.0)])
        await service.answer(request_event(rows, "large"))
        value = service.metrics.registry.get_sample_value
        assert value("wayside_detector_rows_total", {"detector": ""}) == 3001
        assert 1 <= (value("wayside_detector_rows_flagged_total", {"detector": ""}) or 0) < 100
