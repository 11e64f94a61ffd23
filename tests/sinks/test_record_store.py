"""Records: one a row whatever the order of arrival, each event once, and nothing overwritten."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from events import OUTLIERS, TIME, outlier, request, response, window
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id
from wayside.eventing.verdict import RowVerdict
from wayside.eventing.vocabulary import OUTLIER
from wayside.eventing.window_verdict import RowRange
from wayside.sinks.embedded.reader import RecordCounts, RecordReader
from wayside.sinks.embedded.sink import RecordSink
from wayside.sinks.embedded.store import RecordStore
from wayside.sinks.merging import Outcome

ROWS = [[1.0, 2.0], [3.0, 4.0]]
WINDOW = window(0, 2, True, [RowRange("digits-predictor", "e1", 0, 2, TIME)])
PARTS = [request(ROWS), response([7, 8]), outlier([False, True]), WINDOW]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[RecordStore]:
    store = RecordStore(path)
    await store.start()
    yield store
    await store.stop()


def read(path: Path, row: int = 0) -> dict[str, object] | None:
    reader = RecordReader(path)
    try:
        return reader.document(record_id("digits-predictor", "e1", row))
    finally:
        reader.close()


def counts(path: Path) -> RecordCounts:
    reader = RecordReader(path)
    try:
        return reader.counts()
    finally:
        reader.close()


async def filled(path: Path, events: list[CloudEvent]) -> list[object]:
    store = RecordStore(path)
    await store.start()
    for event in events:
        await store.take(event)
    await store.stop()
    return [read(path, row) for row in (0, 1)]


async def test_every_order_of_arrival_gives_the_same_documents(tmp_path: Path) -> None:
    expected = await filled(tmp_path / "first.sqlite", PARTS)
    for number, order in enumerate(permutations(PARTS)):
        assert await filled(tmp_path / f"{number}.sqlite", list(order)) == expected


async def test_a_document_has_seldons_shape(store: RecordStore, path: Path) -> None:
    for event in PARTS:
        await store.take(event)
    document = read(path, row=1)
    assert document is not None
    assert document["_id"] == record_id("digits-predictor", "e1", 1)
    head = {"RequestId": "e1", "ServingEngine": "inferenceservice", "Ce-Inferenceservicename": "digits"}
    assert head.items() <= document.items()
    assert document["@timestamp"] == "2026-11-21T10:00:00.000000001Z"
    assert document["request"]["instance"] == [3.0, 4.0]  # type: ignore[index]
    assert document["request"]["dataType"] == "tabular"  # type: ignore[index]
    assert document["response"]["instance"] == 8  # type: ignore[index]
    assert document["outlier"]["data"]["is_outlier"] == 1  # type: ignore[index]
    assert document["outlier"]["meta"]["name"] == "outlier"  # type: ignore[index]
    assert document["drift"]["data"]["is_drift"] == 1  # type: ignore[index]


async def test_the_same_event_again_changes_nothing_and_is_counted(store: RecordStore, path: Path) -> None:
    for event in PARTS:
        assert await store.take(event) is Outcome.STORED
    before = read(path)
    for event in PARTS:
        assert await store.take(event) is Outcome.DUPLICATE
    assert read(path) == before
    assert counts(path) == RecordCounts(2, 2, 0, 2, 1, 2, duplicates=4, conflicts=0)


async def test_a_known_key_with_other_bytes_is_kept_apart(store: RecordStore, path: Path) -> None:
    await store.take(request(ROWS))
    before = read(path)
    assert await store.take(request([[9.0, 9.0]])) is Outcome.CONFLICT
    assert await store.take(request([[9.0, 9.0]])) is Outcome.DUPLICATE
    assert read(path) == before
    assert counts(path).conflicts == 1


async def test_events_without_a_part_are_ignored(store: RecordStore) -> None:
    assert await store.take(CloudEvent("1", "s", "com.example.other")) is Outcome.IGNORED


async def test_a_request_without_a_response_is_unanswered(store: RecordStore, path: Path) -> None:
    await store.take(request(ROWS, "e1"))
    await store.take(request(ROWS, "e2"))
    await store.take(response([1, 2], "e2"))
    assert counts(path) == RecordCounts(4, 2, 2, 0, 0, 0, 0, 0)
    reader = RecordReader(path)
    assert set(reader.answered_request_ids()) == {("client-e2", 0), ("client-e2", 1)}
    reader.close()


@pytest.mark.parametrize(
    ("said", "is_answered"),
    [
        ({}, True),  # KServe's agent logs no answer but a 200, and says no status
        ({"statuscode": "200", "latencyms": "12.5"}, True),
        ({"statuscode": "200", "grpcstatus": "0"}, True),
        ({"statuscode": "500"}, False),
        ({"statuscode": "429"}, False),
        ({"statuscode": "200", "grpcstatus": "3"}, False),
        ({"statuscode": "200", "truncated": "true"}, False),
        ({"statuscode": "200", "redaction": "withheld"}, False),
    ],
)
async def test_only_a_prediction_answers_a_row(tmp_path: Path, said: dict[str, str], is_answered: bool) -> None:
    """Whichever comes first; an error's one text answers none of the rows that were asked."""
    parts = [request(ROWS), response([1, 2], **said)]
    for number, events in enumerate((parts, parts[::-1], [*parts, outlier([True, False])])):
        path = tmp_path / f"{number}.sqlite"
        await filled(path, events)
        found = counts(path)
        assert (found.records, found.answered, found.unanswered) == ((2, 2, 0) if is_answered else (2, 0, 2))
        with closing(RecordReader(path)) as reader:
            assert len(list(reader.answered_request_ids())) == found.answered


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({}, {}),
        ({"statuscode": "503", "latencyms": "12.25"}, {"statuscode": 503, "latencyms": 12.25}),
        ({"statuscode": "200", "grpcstatus": "14"}, {"statuscode": 200, "grpcstatus": 14}),
        ({"redaction": "withheld"}, {"redaction": "withheld"}),
        ({"latencyms": "7"}, {"latencyms": 7.0}),
        ({"truncated": "true"}, {"truncated": True}),
        ({"truncated": "false", "statuscode": "999", "latencyms": "-1"}, {}),
        ({"statuscode": "٢٠٠", "latencyms": "1e309"}, {}),  # what no logger of ours says is not shown as if one had
        ({"statuscode": "200 ", "latencyms": "9" * 13, "grpcstatus": "-1", "redaction": "none"}, {}),
    ],
)
async def test_a_response_shows_how_it_went(
    store: RecordStore, path: Path, said: dict[str, str], shown: dict[str, object]
) -> None:
    await store.take(response(b"upstream request timeout", **said))
    document = read(path)
    assert document is not None
    side = document["response"]
    assert side["instance"] == "upstream request timeout"  # type: ignore[index]
    assert set(side) == {"instance", "dataType", "ce-time", "ce-source", "ce-id", *shown}  # type: ignore[call-overload]
    assert {name: side[name] for name in shown} == shown  # type: ignore[index]


@pytest.mark.parametrize(
    ("body", "instance", "kind"),
    [
        (b'{"instances": [NaN]}', "NaN", "number"),
        (b'{"instances": [[1e999, -1e999]]}', ["Infinity", "-Infinity"], "tabular"),
        (b'{"instances": ["<script>alert(1)</script>"]}', "<script>alert(1)</script>", "text"),
        (b'{"instances": [[[1, 2], [3, 4]]]}', [[1, 2], [3, 4]], "image"),
        (b'{"instances": [{"a": 1}]}', {"a": 1}, "json"),
        (b'{"something": "else"}', {"something": "else"}, "json"),
        (b"plain words", "plain words", "text"),
        (b"\xff\xfe", "//4=", "text"),
        (b'{"instances": ["\\ud800"]}', {"instances": ["\ud800"]}, "json"),  # half a pair is refused: kept whole
    ],
)
async def test_whatever_came_is_kept_as_valid_json(
    store: RecordStore, path: Path, body: bytes, instance: object, kind: str
) -> None:
    await store.take(request(body))
    document = read(path)
    assert document is not None
    assert document["request"]["instance"] == instance  # type: ignore[index]
    assert document["request"]["dataType"] == kind  # type: ignore[index]
    json.dumps(document, allow_nan=False)


async def test_a_large_batch_is_a_record_a_row(store: RecordStore, path: Path) -> None:
    await store.take(request([[float(row)] for row in range(5_000)]))
    assert counts(path).records == 5_000


async def test_what_cannot_be_read_touches_nothing(store: RecordStore, path: Path) -> None:
    broken = outlier([True])
    with pytest.raises(MalformedEvent):
        await store.take(CloudEvent(broken.id, broken.source, broken.type, b"{}", broken.time))
    with pytest.raises(MalformedEvent, match="time"):
        await store.take(CloudEvent("1", "s", PARTS[0].type, b"{}"))
    assert counts(path) == RecordCounts(0, 0, 0, 0, 0, 0, 0, 0)


async def test_rates_flagged_and_windows(store: RecordStore, path: Path) -> None:
    for event in [
        *PARTS,
        window(2, 4, False, [RowRange("s", "x", 0, 2, "2026-11-21T10:00:09Z")], "2026-11-21T10:00:09Z"),
    ]:
        await store.take(event)
    reader = RecordReader(path)
    rate = reader.rates()[0]
    assert (rate.detector, rate.alpha, rate.threshold, rate.scored, rate.flagged) == ("outlier", 0.01, 3.0, 2, 1)
    assert reader.rates(since="2026-11-21T10:00:01Z") == []
    assert [document["_id"] for document in reader.flagged(10)] == [record_id("digits-predictor", "e1", 1)]
    assert [(row.first, row.is_drift) for row in reader.windows(10)] == [(2, False), (0, True)]
    assert reader.alerts(10) == [], "an alert is what a detector says, not what its windows add up to"
    reader.close()


async def test_pruning_forgets_what_is_old_alone(store: RecordStore, path: Path) -> None:
    for event in PARTS:
        await store.take(event)
    await store.prune("2026-11-21T10:00:00.000000001Z")
    assert counts(path).records == 2
    await store.prune("2026-11-21T10:00:01Z")
    assert counts(path).records == counts(path).scored == 0


async def test_verdicts_of_two_artifacts_of_one_detector_stand_side_by_side(tmp_path: Path) -> None:
    refitted = replace(OUTLIERS, digest="ef" * 32)
    verdicts = [
        RowVerdict(OUTLIER, [1.0], [0.5], [decision], 3.0).event(request([[0.0]]), judge)
        for decision, judge in ((True, OUTLIERS), (False, refitted))
    ]
    seen = []
    for name, order in (("a", verdicts), ("b", verdicts[::-1])):
        await filled(tmp_path / name, order)
        seen.append((read(tmp_path / name), counts(tmp_path / name).flagged))
    assert seen[0] == seen[1]
    assert seen[0][1] == 1


async def test_of_two_windows_of_a_row_the_same_one_stands(tmp_path: Path) -> None:
    later = window(1, 3, False, [RowRange("digits-predictor", "e1", 0, 2, TIME)])
    await filled(tmp_path / "a", [WINDOW, later])
    await filled(tmp_path / "b", [later, WINDOW])
    assert read(tmp_path / "a") == read(tmp_path / "b")


async def test_windows_are_known_by_source_and_id_apart(store: RecordStore) -> None:
    assert await store.take(replace(WINDOW, source="a b", id="c")) is Outcome.STORED
    assert await store.take(replace(WINDOW, source="a", id="b c")) is Outcome.STORED


@pytest.mark.parametrize("members", [[["s", "e", 0, 1 << 62, TIME]], [["s", "\ud800", 0, 2, TIME]]])
async def test_a_window_of_impossible_members_is_refused(
    store: RecordStore, path: Path, members: list[list[object]]
) -> None:
    body = json.loads(WINDOW.data)
    body["data"]["members"] = members
    with pytest.raises(MalformedEvent):
        await store.take(replace(WINDOW, data=json.dumps(body).encode()))
    assert counts(path).in_windows == 0


@pytest.mark.parametrize("depth", [63, 400, 500, 700, 900, 5000])
async def test_a_payload_nested_without_end_is_a_record(store: RecordStore, path: Path, depth: int) -> None:
    deep = b'{"instances":[' + b"[" * depth + b"]" * depth + b"]}"
    assert await store.take(request(deep)) is Outcome.STORED
    assert counts(path).records == 1
    assert read(path) is not None


async def test_a_prune_that_fails_is_told_and_tried_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await filled(path, [request(ROWS)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER no BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'no room'); END")
    sink = RecordSink(path, CollectorRegistry(), retain_s=-1e9)  # all that was ever stored is too old
    await sink.start()
    async with asyncio.timeout(10):
        while "no room" not in caplog.text:
            await asyncio.sleep(0.01)
    await sink.send(request(ROWS, "e2"))
    await sink.stop()


async def test_a_file_of_another_kind_is_an_error(path: Path) -> None:
    path.write_text("not a database, but long enough to be looked at " * 20)
    with pytest.raises(ConfigurationError, match=r"records\.sqlite"):
        await RecordStore(path).start()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=12))
def test_any_sequence_with_repeats_gives_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    import asyncio

    sequence = [PARTS[number] for number in [*order, 0, 1, 2, 3]]
    folder = tmp_path_factory.mktemp("records")
    plain, repeated = folder / "plain.sqlite", folder / "repeated.sqlite"
    assert asyncio.run(filled(repeated, sequence)) == asyncio.run(filled(plain, PARTS))


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from events import request, response
from wayside.sinks.embedded.store import RecordStore
async def main():
    store = RecordStore(Path(sys.argv[1]))
    await store.start()
    for number in range(100_000):
        await store.take(request([[1.0]], f"e{number}"))
        await store.take(response([1], f"e{number}"))
        print(number, flush=True)
asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    folder = str(Path(__file__).parent)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), folder], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    last = 0
    for line in writer.stdout:
        last = int(line)
        if last > 150:
            os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    store = RecordStore(path)
    await store.start()
    assert counts(path).answered >= last + 1
    again = [
        make([[1.0]] if make is request else [1], f"e{n}") for n in range(last + 10) for make in (request, response)
    ]
    random.Random(1).shuffle(again)
    for event in again:
        await store.take(event)
    await store.stop()
    assert counts(path).answered == counts(path).records == last + 10
