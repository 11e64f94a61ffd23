"""Feedback in the records, Seldon's payloads beside ours, and the count of parts that lack their partner."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from events import outlier, request, response
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from wayside.eventing.clock import FakeClock, format_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id
from wayside.eventing.pairs.join import JoinSettings
from wayside.eventing.vocabulary import FEEDBACK, SELDON_OUTLIER, SELDON_REQUEST, SELDON_RESPONSE
from wayside.sinks.embedded.reader import RecordReader
from wayside.sinks.embedded.sink import RecordSink
from wayside.sinks.embedded.store import RecordStore
from wayside.sinks.feedback import feedback_sides
from wayside.sinks.merging import Mark, Outcome, contributions, part_of, shown

ROWS = [[1.0, 2.0], [3.0, 4.0]]
OURS = {"subjectsource": "digits-predictor", "subjectid": "e1", "requesttime": "2026-11-21T10:00:00Z"}
SELDON = {
    "inferenceservicename": "iris",
    "namespace": "seldon",
    "endpoint": "default",
    "modelid": "m",
    "requestid": "p1",
}


def feedback(body: Any, name: str = "f1", time: str = "2026-11-21T11:00:00Z", **extensions: str) -> CloudEvent:
    data = json.dumps(body).encode()
    return CloudEvent(name, "/client", FEEDBACK, data, time, "application/json", extensions=extensions or OURS)


def truth(rows: Any) -> dict[str, Any]:
    return {"data": {"ndarray": rows}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"reward": 1, "truth": truth([[7], [8]])}, [{"reward": 1, "truth": [7]}, {"reward": 1, "truth": [8]}]),
        ({"truth": truth([[7]])}, [{"truth": [7]}]),
        ({"reward": 0.5}, [{"reward": 0.5}]),
        ({"reward": 0.5, "response": truth([[1], [2]])}, [{"reward": 0.5}, {"reward": 0.5}]),
        ({"reward": 0.5, "request": truth([[1], [2], [3]])}, [{"reward": 0.5}] * 3),
        ({"truth": "a cat"}, [{"truth": "a cat"}]),
        ({"truth": None}, [{"truth": None}]),
    ],
)
def test_feedback_is_said_of_each_row(body: Any, expected: Sequence[dict[str, Any]]) -> None:
    named = {"ce-time": "2026-11-21T11:00:00.000000000Z", "ce-source": "/client", "ce-id": "f1"}
    assert list(feedback_sides(feedback(body))) == [{**named, **side} for side in expected]


@pytest.mark.parametrize("body", [[], {}, {"instances": [1]}, "text"])
def test_what_is_no_feedback_is_refused(body: Any) -> None:
    with pytest.raises(MalformedEvent, match="feedback is no JSON object"):
        feedback_sides(feedback(body))


@pytest.mark.parametrize("reward", [{"a": 1}, [1], "high"])
def test_a_reward_that_is_no_number_is_refused(reward: Any) -> None:
    with pytest.raises(MalformedEvent, match="'reward' is no number"):
        feedback_sides(feedback({"reward": reward, "truth": "cat"}))


EVENTS = [
    request(ROWS),
    response([7, 8]),
    feedback({"reward": 0.1}),
    feedback({"reward": 0.9, "truth": truth([[7], [9]])}, "f2", "2026-11-21T12:00:00+00:00"),
    feedback({"reward": 0.2, "truth": truth([[0], [0]])}, "f0", "2026-11-21T12:00:00Z"),
]


def merged(events: Sequence[CloudEvent]) -> dict[str, Any]:
    documents: dict[str, Any] = {}
    for event in events:
        part = part_of(event)
        assert part is not None
        for contribution in contributions(part):
            name = contribution.record_id
            documents[name] = contribution.merged(documents.get(name), Mark.of(event))
    return {name: shown(document) for name, document in documents.items()}


@given(st.permutations([*EVENTS, *EVENTS]))
def test_merging_feedback_is_commutative_and_idempotent(events: list[CloudEvent]) -> None:
    documents = merged(events)
    assert documents == merged(EVENTS)
    assert [document["feedback"]["truth"] for document in documents.values()] in ([[7], [9]], [[9], [7]])


async def stored(path: Path, events: Sequence[CloudEvent]) -> list[Any]:
    store = RecordStore(path)
    await store.start()
    for event in events:
        await store.take(event)
    await store.stop()
    reader = RecordReader(path)
    try:
        return [reader.document(record_id("digits-predictor", "e1", row)) for row in (0, 1)]
    finally:
        reader.close()


async def test_the_embedded_store_keeps_what_merging_says_whatever_the_order(tmp_path: Path) -> None:
    expected = [merged(EVENTS)[record_id("digits-predictor", "e1", row)] for row in (0, 1)]
    for number, order in enumerate(permutations(EVENTS)):
        documents = await stored(tmp_path / f"{number}.sqlite", order) if number % 12 == 0 else None
        if documents is not None:
            assert [{k: v for k, v in document.items() if k != "_id"} for document in documents] == expected


async def test_seldons_payloads_are_records_under_their_puid(tmp_path: Path) -> None:
    def event(kind: str, name: str, rows: Any) -> CloudEvent:
        data = json.dumps(truth(rows)).encode()
        return CloudEvent(name, "http://:8000/", kind, data, "2026-11-21T10:00:00Z", extensions=SELDON)

    store = RecordStore(tmp_path / "records.sqlite")
    await store.start()
    asked, again = event(SELDON_REQUEST, "1", [[1.0]]), event(SELDON_REQUEST, "9", [[2.0]])
    outcomes = [await store.take(each) for each in (asked, event(SELDON_RESPONSE, "2", [[0.9]]), asked, again)]
    assert outcomes == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE, Outcome.CONFLICT]
    assert await store.take(event(SELDON_OUTLIER, "3", [[1]])) is Outcome.IGNORED
    assert await store.take(feedback({"reward": 1}, **SELDON)) is Outcome.STORED
    await store.stop()
    reader = RecordReader(tmp_path / "records.sqlite")
    document = reader.document(record_id("seldon:seldon/iris/default/m", "p1", 0))
    assert document is not None
    assert (document["request"]["instance"], document["response"]["instance"]) == ([1.0], [0.9])
    assert document["feedback"]["reward"] == 1
    assert reader.parts() == {"request": {"conflict": 1, "duplicate": 1, "joined": 1}, "response": {"joined": 1}}
    reader.close()


def timed(event: CloudEvent, clock: FakeClock) -> CloudEvent:
    return replace(event.with_extensions(requesttime=format_time(clock.time_ns())), time=format_time(clock.time_ns()))


async def test_lonely_and_late_parts_are_counted_on_metrics_over_a_restart(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "records.sqlite"
    early = [
        timed(event, clock)
        for event in (
            *(request(ROWS, "whole"), response([1, 2], "whole"), outlier([False, True], "whole")),
            *(request(ROWS, "unanswered"), outlier([False, False], "unanswered")),
            *(response([1, 2], "unasked"), outlier([True, True], "nowhere")),
        )
    ]
    late = timed(response([1, 2], "unanswered"), clock)
    for round_ in (early, early[:1], None):
        registry = CollectorRegistry()
        sink = RecordSink(path, registry, clock=clock, settings=JoinSettings(timeout_s=10))
        await sink.start()
        if round_ is None:
            clock.advance(60)
            await sink.send(timed(request(ROWS, "now"), clock))
            await sink.send(late)
        for event in round_ or ():
            await sink.send(event)
        found = {
            (sample.labels["role"], sample.labels.get("fate", "waiting")): sample.value
            for family in registry.collect()
            if family.name.startswith("wayside_record_parts")
            for sample in family.samples
            if sample.value
        }
        await sink.stop()
    assert found == {
        ("request", "joined"): 1,
        ("request", "duplicate"): 1,
        ("request", "lonely"): 1,
        ("request", "waiting"): 1,
        ("response", "joined"): 1,
        ("response", "lonely"): 1,
        ("response", "late"): 1,
        ("outlier", "joined"): 2,
        ("outlier", "lonely"): 1,
    }
