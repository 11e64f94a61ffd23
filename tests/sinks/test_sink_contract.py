"""What every sink promises, run against each: memory, records, Prometheus, records behind HTTP, Elasticsearch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from events import alert, outlier, request, response, window
from prometheus_client import CollectorRegistry

from wayside.eventing.alert import AlertState
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.event_sink import HttpEventSink
from wayside.eventing.http.server import ServerLimits
from wayside.eventing.sink import EventRefused, MemorySink, Sink
from wayside.eventing.window_verdict import RowRange
from wayside.sinks.embedded.sink import RecordSink
from wayside.sinks.prometheus import PrometheusSink
from wayside.sinks.receiver import Receiver

EVENTS = [
    request([[1.0]]),
    response([1]),
    outlier([True]),
    window(0, 1, True, [RowRange("digits-predictor", "e1", 0, 1, "2026-11-21T10:00:00Z")]),
    *(alert(state, 0) for state in AlertState),
]
ELASTICSEARCH = pytest.param("elasticsearch", marks=pytest.mark.services)
READERS = ("records", "prometheus", "records over http", ELASTICSEARCH)


@asynccontextmanager
async def elasticsearch_sink(url: str) -> AsyncIterator[Sink]:
    from elastic.elastic_side import remove_all

    from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
    from wayside.sinks.elasticsearch.sink import ElasticsearchSink

    settings = ElasticsearchSettings(url, f"test-{uuid4().hex[:12]}", wait_s=20)
    try:
        yield ElasticsearchSink(settings, CollectorRegistry())
    finally:
        await remove_all(settings)


@pytest.fixture(params=["memory", *READERS])
async def sink(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sink]:
    if request.param == "elasticsearch":
        async with elasticsearch_sink(request.getfixturevalue("service")("ELASTICSEARCH")) as opened:
            yield opened
        return
    records = RecordSink(tmp_path / "records.sqlite", CollectorRegistry())
    if request.param == "memory":
        yield MemorySink()
    elif request.param == "records":
        yield records
    elif request.param == "prometheus":
        yield PrometheusSink(CollectorRegistry())
    else:
        await records.start()
        receiver = Receiver(records, "127.0.0.1", 0, ServerLimits())
        await receiver.start()
        yield HttpEventSink(f"http://127.0.0.1:{receiver.port}/", timeout_s=5)
        await receiver.stop()
        await records.stop()


async def test_it_takes_every_event_of_the_vocabulary_and_others(sink: Sink) -> None:
    await sink.start()
    for event in [*EVENTS, CloudEvent("1", "s", "com.example.other")]:
        await sink.send(event)
    await sink.stop()


async def test_it_takes_an_event_again(sink: Sink) -> None:
    await sink.start()
    for event in [*EVENTS, *EVENTS]:
        await sink.send(event)
    await sink.stop()


async def test_it_stops_twice_and_before_it_starts(sink: Sink) -> None:
    await sink.stop()
    await sink.start()
    await sink.stop()
    await sink.stop()


@pytest.mark.parametrize("sink", READERS, indirect=True)
async def test_what_it_can_never_read_it_refuses(sink: Sink) -> None:
    await sink.start()
    for event in EVENTS[2:]:
        with pytest.raises(EventRefused):
            await sink.send(CloudEvent(event.id, event.source, event.type, b"no verdict", event.time))
    await sink.stop()
