"""A seeded stream of events, both stores filled with it, and what each then holds."""

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch
from events import DRIFTS, KEY, OUTLIERS
from prometheus_client import CollectorRegistry

from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import RowVerdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, REQUEST_TIME, RESPONSE
from wayside.eventing.window_verdict import RowRange, WindowVerdict
from wayside.sinks.document import Document
from wayside.sinks.elasticsearch.indices import MAPPINGS
from wayside.sinks.elasticsearch.reader import ElasticsearchRecords
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
from wayside.sinks.elasticsearch.sink import ElasticsearchSink
from wayside.sinks.embedded.reader import RecordReader
from wayside.sinks.embedded.store import RecordStore

MIDNIGHT_NS = parse_time("2026-11-22T00:00:00Z")
SOURCE = "digits-predictor"


@dataclass(frozen=True, slots=True)
class Inference:
    """One request of so many rows, a few seconds before or after midnight."""

    name: str
    rows: int
    time: str

    def payload(self, kind: str, column: str, later_ns: int = 0) -> CloudEvent:
        body = json.dumps({column: [[float(row), 0.5] for row in range(self.rows)]}).encode()
        extensions = {**KEY.extensions(), REQUEST_TIME: self.time, "requestid": f"client-{self.name}"}
        time = format_time(parse_time(self.time) + later_ns)
        return CloudEvent(self.name, SOURCE, kind, body, time, "application/json", extensions=extensions)

    def verdict(self, digest: str, draw: random.Random) -> CloudEvent:
        scores = [draw.random() * 5 for _ in range(self.rows)]
        decisions = [score > 3 for score in scores]
        made = RowVerdict(OUTLIER, scores, [draw.random() for _ in scores], decisions, 3.0)
        return made.event(self.payload(REQUEST, "instances"), replace(OUTLIERS, digest=digest))


def stream(count: int, seed: int = 4) -> list[CloudEvent]:
    """Requests, responses after midnight, verdicts of two artifacts, windows, a fourth of them twice; all shuffled."""
    draw = random.Random(seed)
    inferences = [
        Inference(f"e{number}", draw.randint(1, 4), format_time(MIDNIGHT_NS + draw.randint(-4, 3) * 1_000_000_000))
        for number in range(count)
    ]
    events: list[CloudEvent] = []
    for each in inferences:
        events.append(each.payload(REQUEST, "instances"))
        if draw.random() < 0.9:
            events.append(each.payload(RESPONSE, "predictions", later_ns=5_000_000_000))
        events += [each.verdict(digest, draw) for digest in ("ab" * 32, "ef" * 32)[: draw.randint(1, 2)]]
    for first in range(0, count, 10):
        events.append(_window(inferences[first : first + 12], first, draw))
    again = events + draw.sample(events, len(events) // 4)
    draw.shuffle(again)
    return again


def _window(inferences: Sequence[Inference], first: int, draw: random.Random) -> CloudEvent:
    members = [RowRange(SOURCE, each.name, 0, each.rows, each.time) for each in inferences]
    last = inferences[-1].time
    numbers = (draw.random(), 0.01, 0.2, [0.2], [draw.random()])
    return WindowVerdict(KEY, first, first + len(members), last, False, *numbers, members).event(DRIFTS)


async def embedded(path: Path, events: Sequence[CloudEvent]) -> dict[str, Document]:
    """What the embedded store holds after the events, in their order, by record id."""
    store = RecordStore(path)
    await store.start()
    await asyncio.gather(*map(store.take, events))
    await store.stop()
    with closing(RecordReader(path)) as reader, closing(sqlite3.connect(path)) as connection:
        ids = [row[0] for row in connection.execute("SELECT record_id FROM records")]
        return {name: document for name in ids if (document := reader.document(name)) is not None}


async def in_elasticsearch(settings: ElasticsearchSettings) -> dict[str, Document]:
    """What Elasticsearch holds by record id; fails where it holds a record twice."""
    async with ElasticsearchRecords(settings) as records:
        found = [document async for document in records.documents()]
    assert len({document["_id"] for document in found}) == len(found)
    return {document["_id"]: document for document in found}


async def hits(settings: ElasticsearchSettings, kind: str) -> list[dict[str, Any]]:
    """The raw hits of all indices of one kind."""
    async with AsyncElasticsearch(settings.url) as client:
        index = f"{settings.index_prefix}-{kind}-*"
        await client.indices.refresh(index=index)
        return list((await client.search(index=index, size=1000))["hits"]["hits"])


async def remove_all(settings: ElasticsearchSettings) -> None:
    async with AsyncElasticsearch(settings.url) as client:
        for index in await client.indices.get(index=f"{settings.index_prefix}-*"):
            await client.indices.delete(index=index)
        for kind in MAPPINGS:
            await client.options(ignore_status=404).indices.delete_index_template(
                name=f"{settings.index_prefix}-{kind}"
            )


@asynccontextmanager
async def running(
    settings: ElasticsearchSettings, registry: CollectorRegistry | None = None
) -> AsyncIterator[ElasticsearchSink]:
    sink = ElasticsearchSink(settings, registry or CollectorRegistry())
    await sink.start()
    try:
        yield sink
    finally:
        await sink.stop()


async def send_all(sink: ElasticsearchSink, events: Sequence[CloudEvent]) -> None:
    await asyncio.gather(*map(sink.send, events))


def counted(registry: CollectorRegistry) -> dict[str, float]:
    """Events by outcome, of outcomes that were seen."""
    return {
        sample.labels["outcome"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "wayside_elasticsearch_events_total" and sample.value
    }
