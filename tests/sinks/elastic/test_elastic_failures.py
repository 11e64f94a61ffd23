"""Elasticsearch that refuses, is overloaded, is away or takes only some items: nothing lost, nobody blamed wrongly."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elastic_proxy import PRODUCT, ElasticProxy, error
from elastic_side import counted, embedded, in_elasticsearch, running, send_all, stream
from elasticsearch import AsyncElasticsearch
from events import request, response
from prometheus_client import CollectorRegistry

from wayside.eventing.http.message import Request, Response
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.sinks.elasticsearch.settings import Bounds, ElasticsearchSettings

QUICK = Bounds(give_up_s=0.3, request_timeout_s=2.0)


def first_times(times: int, path: str, status: int) -> Callable[[Request], Response | None]:
    """Fails the first requests to a path."""
    left = [times]

    def answer(request: Request) -> Response | None:
        if request.path != path or not left[0]:
            return None
        left[0] -= 1
        return error(status)

    return answer


def retries(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("wayside_elasticsearch_retries_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [("/_bulk", 429, "overloaded"), ("/_bulk", 503, "server_error"), ("/_mget", 429, "overloaded")],
)
async def test_a_request_that_fails_is_made_again(
    elastic: ElasticsearchSettings, tmp_path: Path, path: str, status: int, reason: str
) -> None:
    events, registry = stream(10), CollectorRegistry()
    async with (
        ElasticProxy(elastic.url, first_times(2, path, status)) as proxy,
        running(replace(elastic, url=proxy.url), registry) as sink,
    ):
        await send_all(sink, events)
    assert retries(registry, reason) >= 2
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


async def test_only_the_items_that_failed_are_written_again(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    draw, events, registry = random.Random(7), stream(30), CollectorRegistry()
    written: list[str] = []

    def spoil(action: dict[str, Any], document: bytes) -> int | None:
        if draw.random() < 0.3:
            return draw.choice((429, 503))
        written.append(str(action))
        return None

    async with (
        ElasticProxy(elastic.url, spoil=spoil) as proxy,
        running(replace(elastic, url=proxy.url), registry) as sink,
    ):
        await send_all(sink, events)
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)
    assert len(set(written)) == len(written)
    assert retries(registry, "overloaded") > 0


async def test_a_request_that_is_too_large_is_made_as_smaller_ones(
    elastic: ElasticsearchSettings, tmp_path: Path
) -> None:
    def answer(request: Request) -> Response | None:
        return error(413) if request.path == "/_bulk" and len(request.body) > 4_000 else None

    events = stream(20)
    async with ElasticProxy(elastic.url, answer) as proxy, running(replace(elastic, url=proxy.url)) as sink:
        await send_all(sink, events)
        with pytest.raises(EventRefused, match="413"):
            await sink.send(request([["x" * 5_000]], "large"))
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


async def test_only_the_event_at_fault_is_refused(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    def spoil(action: dict[str, Any], document: bytes) -> int | None:
        return 400 if b"poison" in document else None

    good, registry = [request([[1.0]]), request([[2.0]], "e2"), response([2], "e2")], CollectorRegistry()
    async with (
        ElasticProxy(elastic.url, spoil=spoil) as proxy,
        running(replace(elastic, url=proxy.url), registry) as sink,
    ):
        sent = [*good, response(["poison"])]
        results = await asyncio.gather(*map(sink.send, sent), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [EventRefused]
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", good)
    assert counted(registry) == {"stored": 3, "refused": 1}


@pytest.mark.parametrize("status", [403, 404, 429, 503])
async def test_what_an_operator_can_mend_is_given_back(elastic: ElasticsearchSettings, status: int) -> None:
    def spoil(action: dict[str, Any], document: bytes) -> int | None:
        return status if b"blocked" in document else None

    async with (
        ElasticProxy(elastic.url, spoil=spoil) as proxy,
        running(replace(elastic, url=proxy.url, bounds=QUICK)) as sink,
    ):
        sent = [request([["free"]]), request([["blocked"]], "e2")]
        results = await asyncio.gather(*map(sink.send, sent), return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], SinkUnavailable)
    assert str(status) in str(results[1])
    assert len(await in_elasticsearch(elastic)) == 1


async def test_away_in_the_middle_and_back(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    away = [False]
    events = stream(20)
    async with (
        ElasticProxy(elastic.url, lambda request: error(503) if away[0] else None) as proxy,
        running(replace(elastic, url=proxy.url, bounds=QUICK)) as sink,
    ):
        await send_all(sink, events[:30])
        away[0] = True
        with pytest.raises(SinkUnavailable) as caught:
            await send_all(sink, events[30:])
        assert caught.value.retry_after_s
        await wait_until(lambda: not sink.ready())
        away[0] = False
        await wait_until(sink.ready)
        await send_all(sink, events)
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.02)


async def test_an_index_that_cannot_be_read_holds_up_no_other(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    old = "2020-01-01T00:00:00Z"
    others = [request([[float(number)]], f"e{number}") for number in range(3)]
    async with running(replace(elastic, bounds=QUICK)) as sink, AsyncElasticsearch(elastic.url) as client:
        await sink.send(request([[0.0]], "old", requesttime=old))
        index = f"{elastic.index_prefix}-records-2020.01.01"
        await client.indices.close(index=index)
        sent = [response([1], "old", requesttime=old), *others]
        results = await asyncio.gather(*map(sink.send, sent), return_exceptions=True)
        await client.indices.open(index=index)
        await sink.send(sent[0])
    assert isinstance(results[0], SinkUnavailable)
    assert f"{index}: index_closed_exception" in str(results[0])
    assert results[1:] == [None] * 3
    everything = [request([[0.0]], "old", requesttime=old), *sent]
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", everything)


async def test_a_shard_that_is_away_for_a_moment_is_read_again(elastic: ElasticsearchSettings) -> None:
    left = [2]

    def answer(request: Request) -> Response | None:
        left[0] -= request.path == "/_mget"
        if request.path != "/_mget" or left[0] < 0:
            return None
        asked = json.loads(request.body)["docs"]
        failed = {"type": "no_shard_available_action_exception", "reason": "so the test says"}
        docs = [{"_index": each["_index"], "_id": each["_id"], "error": failed} for each in asked]
        return Response(200, PRODUCT, json.dumps({"docs": docs}).encode())

    registry = CollectorRegistry()
    async with ElasticProxy(elastic.url, answer) as proxy, running(replace(elastic, url=proxy.url), registry) as sink:
        await sink.send(request([[1.0]]))
    assert retries(registry, "server_error") == 2
    assert len(await in_elasticsearch(elastic)) == 1


async def test_events_of_many_rows_are_planned_a_few_at_a_time(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    events = [request([[1.0], [2.0]], f"e{number}") for number in range(20)]
    events += [request([["another"]], "e7"), request([[1.0]] * 5, "larger")]
    async with (
        ElasticProxy(elastic.url) as proxy,
        running(replace(elastic, url=proxy.url, bounds=Bounds(plan_documents=4))) as sink,
    ):
        await send_all(sink, events)
    reads = [json.loads(each.body)["docs"] for each in proxy.requests if each.path == "/_mget"]
    assert max(map(len, reads)) == 5
    assert sorted(map(len, reads))[-2] <= 4
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


async def test_a_read_that_is_too_large_is_made_smaller_when_its_events_come_again(
    elastic: ElasticsearchSettings, tmp_path: Path
) -> None:
    def answer(request: Request) -> Response | None:
        too_large = request.path == "/_mget" and len(json.loads(request.body)["docs"]) > 4
        return error(429, "circuit_breaking_exception") if too_large else None

    events = [request([[1.0]], f"e{number}") for number in range(30)]
    async with (
        asyncio.timeout(30),
        ElasticProxy(elastic.url, answer) as proxy,
        running(replace(elastic, url=proxy.url, bounds=QUICK)) as sink,
    ):
        while any(await asyncio.gather(*map(sink.send, events), return_exceptions=True)):
            pass
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)
