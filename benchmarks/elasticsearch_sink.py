"""Rows a second into a real Elasticsearch: this sink, beside one update an event as Seldon's request logger makes them.

Both take the same events (a request, a response and a row verdict each inference) from the same number of senders,
through the same client library, and end with the same documents in number. The peer is written here after what the
request logger does (seldonio/seldon-core, components/seldon-request-logger at 205cf7429): one `update` with
`doc_as_upsert` a document, and `refresh` with each where it is asked for, as there (seldonio/seldon-core#2109).
"""

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from uuid import uuid4

from elasticsearch import AsyncElasticsearch
from prometheus_client import CollectorRegistry

from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import DetectorIdentity, RowVerdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, REQUEST_TIME, RESPONSE, ServiceKey
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
from wayside.sinks.elasticsearch.sink import ElasticsearchSink
from wayside.sinks.merging import contributions, part_of

FEATURES = 18
JUDGE = DetectorIdentity("outlier", "knn", "ab" * 32, 0.01)
Send = Callable[[CloudEvent], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Load:
    """Inferences of `rows` rows each, sent by `senders` at once."""

    inferences: int
    rows: int
    senders: int

    def events(self) -> list[CloudEvent]:
        """In waves, as they come: a wave's requests, then its responses, then its verdicts."""
        every = [_inference(self.rows) for _ in range(self.inferences)]
        waves = [every[at : at + self.senders] for at in range(0, len(every), self.senders)]
        return [event for wave in waves for column in zip(*wave, strict=True) for event in column]


def _inference(rows: int) -> tuple[CloudEvent, CloudEvent, CloudEvent]:
    name, moment = uuid4().hex, format_time(time.time_ns())
    row = "[" + ", ".join(["0.123456"] * FEATURES) + "]"
    extensions = {**ServiceKey("default", "bench", "predictor", "").extensions(), REQUEST_TIME: moment}
    body = ('{"instances": [' + ", ".join([row] * rows) + "]}").encode()
    request = CloudEvent(name, "bench", REQUEST, body, moment, "application/json", extensions=extensions)
    answer = ('{"predictions": [' + ", ".join(["1"] * rows) + "]}").encode()
    verdict = RowVerdict(OUTLIER, [1.5] * rows, [0.5] * rows, [False] * rows, 3.0).event(request, JUDGE)
    return request, replace(request, type=RESPONSE, data=answer), verdict


async def send_all(send: Send, events: Sequence[CloudEvent], senders: int) -> float:
    """Seconds until every event is accepted; each sender sends its next once its last is."""
    waiting, began = iter(events), time.perf_counter()

    async def send_some() -> None:
        for event in waiting:
            await send(event)

    await asyncio.gather(*(send_some() for _ in range(senders)))
    return time.perf_counter() - began


async def through_the_sink(settings: ElasticsearchSettings, events: Sequence[CloudEvent], senders: int) -> float:
    sink = ElasticsearchSink(settings, CollectorRegistry())
    await sink.start()
    seconds = await send_all(sink.send, events, senders)
    await sink.stop()
    return seconds


async def one_update_a_document(
    settings: ElasticsearchSettings, events: Sequence[CloudEvent], senders: int, refresh: bool
) -> float:
    """The peer: no bulk, no version, and dynamic mappings."""
    async with AsyncElasticsearch(settings.url, connections_per_node=senders) as client:

        async def send(event: CloudEvent) -> None:
            part = part_of(event)
            for each in contributions(part) if part else ():
                fields = {**each.head, each.role.value: each.side}
                await client.update(
                    index=f"{settings.index_prefix}-peer",
                    id=each.record_id,
                    doc=fields,
                    doc_as_upsert=True,
                    retry_on_conflict=3,
                    refresh=refresh,
                )

        return await send_all(send, events, senders)


async def documents(settings: ElasticsearchSettings) -> int:
    async with AsyncElasticsearch(settings.url) as client:
        await client.indices.refresh(index=f"{settings.index_prefix}-*")
        return int((await client.count(index=f"{settings.index_prefix}-*"))["count"])


async def remove(settings: ElasticsearchSettings) -> None:
    async with AsyncElasticsearch(settings.url) as client:
        for index in await client.indices.get(index=f"{settings.index_prefix}-*"):
            await client.indices.delete(index=index)
        for kind in ("records", "windows", "conflicts"):
            await client.options(ignore_status=404).indices.delete_index_template(
                name=f"{settings.index_prefix}-{kind}"
            )


async def rate(url: str, way: str, load: Load) -> float:
    """Rows a second of one way; every row is written three times over, as its parts come."""
    if way == "refreshed":  # a tenth of a second a document: a share of the rows says it as well
        load = replace(load, inferences=max(1, load.inferences // 16))
    settings, events = ElasticsearchSettings(url, f"bench-{uuid4().hex[:8]}"), load.events()
    try:
        if way == "sink":
            seconds = await through_the_sink(settings, events, load.senders)
        else:
            seconds = await one_update_a_document(settings, events, load.senders, refresh=way == "refreshed")
        assert await documents(settings) == load.inferences * load.rows, "a row is missing"
    finally:
        await remove(settings)
    return load.inferences * load.rows / seconds


WAYS = {"sink": "wayside", "updates": "one update a document", "refreshed": "… with refresh=true"}


async def main_async(flags: argparse.Namespace) -> None:
    print(f"{'rows an event':>13} {'senders':>7} {'way':24} {'rows/s':>8} {'ratio':>6}")
    for rows, inferences in ((1, flags.rows), (16, flags.rows // 16)):
        load = Load(inferences, rows, flags.senders)
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(flags.rounds):
            for way in WAYS:  # in turn, so that a machine that drifts hits all alike
                rates[way].append(await rate(flags.url, way, load))
        for way, words in WAYS.items():
            ratio = median(own / sink for own, sink in zip(rates[way], rates["sink"], strict=True))
            print(f"{rows:13} {flags.senders:7} {words:24} {median(rates[way]):8.0f} {ratio:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("WAYSIDE_TEST_ELASTICSEARCH"), help="of a real Elasticsearch")
    parser.add_argument("--rows", type=int, default=2_048, help="rows a measurement (default: 2048)")
    parser.add_argument("--senders", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    if not flags.url:
        parser.error("give --url, or run it where scripts/test --services has set WAYSIDE_TEST_ELASTICSEARCH")
    asyncio.run(main_async(flags))


if __name__ == "__main__":
    main()
