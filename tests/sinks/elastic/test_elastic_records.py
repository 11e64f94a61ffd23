"""The same events into both stores: the same documents, row by row, on a real node."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from elastic_side import counted, embedded, hits, in_elasticsearch, running, send_all, stream
from events import TIME, outlier, request, response, window
from prometheus_client import CollectorRegistry

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.eventing.window_verdict import RowRange
from wayside.sinks.elasticsearch.settings import Bounds, ElasticsearchSettings
from wayside.sinks.elasticsearch.sink import ElasticsearchSink
from wayside.sinks.merging import Mark

HOSTILE = [
    b'{"instances": [NaN, [1e999, -1e999], {"": 1, ".": 2, "a..b": {" ": [1, "x"]}}]}',
    b'{"instances": ["\\ud800", 1' + b"0" * 40 + b", 1" + b"0" * 1200 + b', true, null, "1e400"]}',
    b'{"instances": [[[1, 2], [3]], {"a": "text"}, {"a": {"b": 1}}, {"a": [1]}]}',
    b'{"instances": [' + b"[" * 80 + b"]" * 80 + b"]}",
    b"\xff\xfe",
    b"plain words",
    b'{"instances": []}',
]


async def test_the_same_stream_gives_the_same_documents(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    events = stream(120)
    registry = CollectorRegistry()
    async with running(elastic, registry) as sink:
        await send_all(sink, events)
    expected = await embedded(tmp_path / "records.sqlite", events)
    assert await in_elasticsearch(elastic) == expected
    distinct = len({event.key for event in events})
    assert counted(registry) == {"stored": distinct, "duplicate": len(events) - distinct}


async def test_batches_of_any_size_give_the_same_documents(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    events = stream(40)
    small = Bounds(batch_events=3, read_documents=5, bulk_bytes=2_000, linger_s=0.0)
    async with running(replace(elastic, bounds=small)) as sink:
        await send_all(sink, events)
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


async def test_whatever_a_payload_holds_is_kept(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    events = [request(body, f"e{number}") for number, body in enumerate(HOSTILE)]
    events += [replace(event, time="not a time", id=f"{event.id}-odd") for event in events]
    events.append(request([[1.0]], "n" * 5_000, requesttime="0001-01-01T00:00:00Z"))
    async with running(elastic) as sink:
        await send_all(sink, events)
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


async def test_a_record_stands_in_the_index_of_its_requests_day(elastic: ElasticsearchSettings) -> None:
    last, first = "2026-11-21T23:59:59.999999999Z", "2026-11-22T00:00:00Z"
    event = request([[1.0]], "late", requesttime=last)
    late = [event, replace(response([1], "late", requesttime=last), time="2026-11-22T00:00:07Z")]
    shifted = request([[1.0]], "shifted", requesttime="2026-11-22T01:30:00+02:00")
    members = [RowRange("digits-predictor", name, 0, 1, time) for name, time in (("late", last), ("early", first))]
    parts = [*late, shifted, window(0, 2, True, members, time=first), request([[1.0]], "early", requesttime=first)]
    async with running(elastic) as sink:
        for part in parts:
            await sink.send(part)
    found = {(hit["_source"]["RequestId"], hit["_index"][-10:]) for hit in await hits(elastic, "records")}
    assert found == {("late", "2026.11.21"), ("shifted", "2026.11.21"), ("early", "2026.11.22")}
    assert all(len(hit["_source"]) >= 9 for hit in await hits(elastic, "records") if hit["_index"].endswith("22"))
    assert [hit["_index"][-10:] for hit in await hits(elastic, "windows")] == ["2026.11.22"]


async def test_a_response_without_a_request_time_stands_on_its_own_day(elastic: ElasticsearchSettings) -> None:
    own = {name: value for name, value in response([1]).extensions.items() if name != "requesttime"}
    async with running(elastic) as sink:
        await sink.send(request([[1.0]]))
        await sink.send(replace(response([1]), time="2026-11-21T23:59:59Z", extensions=own))
        await sink.send(replace(response([1], "e2"), time="2026-11-22T00:00:01Z", extensions=own))
    assert sorted(hit["_index"][-10:] for hit in await hits(elastic, "records")) == ["2026.11.21", "2026.11.22"]


async def test_a_known_key_with_other_bytes_is_kept_apart(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    first, other = request([[1.0], [2.0]]), request([[8.0], [9.0], [10.0]])
    events = [first, other, other, replace(outlier([True, True]), source="detector")]
    events.append(replace(outlier([False, False]), source="detector"))
    registry = CollectorRegistry()
    async with running(elastic, registry) as sink:
        await send_all(sink, events)
        await sink.send(other)
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", [*events, other])
    assert counted(registry) == {"stored": 2, "conflict": 2, "duplicate": 2}
    kept = {hit["_source"]["digest"]: hit["_source"] for hit in await hits(elastic, "conflicts")}
    assert set(kept) == {Mark.of(other).digest, Mark.of(events[-1]).digest}
    assert kept[Mark.of(other).digest]["attributes"]["id"] == "e1"


async def test_what_it_cannot_read_or_does_not_concern_it(elastic: ElasticsearchSettings) -> None:
    registry = CollectorRegistry()
    verdict = outlier([True])
    async with running(elastic, registry) as sink:
        await sink.send(CloudEvent("1", "s", "com.example.other"))
        with pytest.raises(EventRefused, match="meta"):
            await sink.send(replace(verdict, data=b"no verdict"))
    assert counted(registry) == {"ignored": 1, "malformed": 1}


async def test_two_sinks_write_the_same_records_at_once(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    events = stream(120)
    few = replace(elastic, bounds=Bounds(batch_events=20))
    registries = [CollectorRegistry(), CollectorRegistry()]
    async with running(few, registries[0]) as one, running(few, registries[1]) as two:
        await asyncio.gather(send_all(one, events[::2]), send_all(two, events[1::2]))
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)
    retries = [
        registry.get_sample_value("wayside_elasticsearch_retries_total", {"reason": "conflict"}) or 0
        for registry in registries
    ]
    assert sum(retries) > 0


async def test_windows_stand_in_an_index_of_their_own(elastic: ElasticsearchSettings) -> None:
    verdict = window(0, 1, True, [RowRange("digits-predictor", "e1", 0, 1, TIME)])
    async with running(elastic) as sink:
        await send_all(sink, [verdict, verdict])
    (found,) = await hits(elastic, "windows")
    assert found["_source"]["Ce-Inferenceservicename"] == "digits"
    assert found["_source"]["drift"]["data"]["feature_p_val"] == [0.0001]


async def test_what_waits_is_bounded(elastic: ElasticsearchSettings) -> None:
    tight = replace(elastic, bounds=Bounds(waiting_events=2, batch_events=1))
    async with running(tight) as sink:
        results = await asyncio.gather(
            *(sink.send(request([[1.0]], f"e{n}")) for n in range(9)), return_exceptions=True
        )
    refused = [result for result in results if isinstance(result, SinkUnavailable)]
    assert 0 < len(refused) < 9
    assert {result.retry_after_s for result in refused} == {1}
    assert len(await in_elasticsearch(elastic)) == 9 - len(refused)


async def test_it_gives_back_what_comes_when_it_is_not_open(elastic: ElasticsearchSettings) -> None:
    sink = ElasticsearchSink(elastic, CollectorRegistry())
    with pytest.raises(SinkUnavailable, match="not open"):
        await sink.send(request([[1.0]]))
