"""What is captured: KServe's vocabulary, ids of our own, each body whole or not at all, and every drop counted."""

import asyncio
import json
from dataclasses import replace

import pytest
from logger_stage import Stage, echo, staged, with_delivery

from wayside.eventing.http.message import Request, Response
from wayside.logger.settings import LoggerSettings, LogMode, Oversize

BODY = b'{"instances": [[1, 2]]}'


async def test_request_and_response_share_an_id_that_is_ours(stage: Stage) -> None:
    sent = ((b"ce-id", b"chosen"), (b"x-request-id", b"r-1"), (b"x-tenant", b"acme"), (b"x-other", b"no"))
    assert (await stage.post(BODY, *sent)).body == BODY
    request, response = sorted(await stage.sink.wait_for(2), key=lambda event: event.type)
    assert request.type == "org.kubeflow.serving.inference.request"
    assert response.type == "org.kubeflow.serving.inference.response"
    assert request.id == response.id != "chosen"
    assert request.source == response.source == "digits-pod"
    assert request.data == response.data == BODY
    assert request.extensions["clientceid"] == "chosen"
    assert request.extensions["requestid"] == response.extensions["requestid"] == "r-1"
    assert json.loads(request.extensions["metadata"]) == {"X-Tenant": ["acme"]}
    assert response.extensions["requesttime"] == request.time
    expected = {"inferenceservicename": "digits", "namespace": "default", "component": "predictor", "endpoint": ""}
    assert expected.items() <= request.extensions.items()


async def test_every_answer_gives_an_event_that_tells_its_status() -> None:
    async def refuse(_: Request) -> Response:
        return Response.text(400, "no")

    async with staged(refuse) as stage:
        assert (await stage.post(BODY)).status == 400
        await stage.sink.wait_for(2)
        (response,) = stage.sink.of("response")
        assert (response.data, response.extensions["statuscode"]) == (b"no\n", "400")


async def test_as_kserve_does_it_only_a_200_gives_a_response_event() -> None:
    async def refuse(_: Request) -> Response:
        return Response(201 if refusing else 200)

    def compatible(given: LoggerSettings) -> LoggerSettings:
        return replace(given, capture=replace(given.capture, kserve_compatible=True))

    refusing = True
    async with staged(refuse, compatible) as stage:
        await stage.post(BODY)
        refusing = False
        await stage.post(BODY, (b"ce-id", b"chosen"))
        await stage.sink.wait_for(3)
        (response,) = stage.sink.of("response")
        assert (response.id, response.datacontenttype) == ("chosen", "application/json")


async def test_each_event_has_its_own_content_type_and_encoding() -> None:
    async def packed(_: Request) -> Response:
        return Response(200, [(b"content-type", b"application/x"), (b"content-encoding", b"gzip")], b"zip")

    async with staged(packed) as stage:
        await stage.post(BODY)
        await stage.sink.wait_for(2)
        assert stage.sink.of("request")[0].datacontenttype == "application/json"
        response = stage.sink.of("response")[0]
        assert (response.datacontenttype, response.extensions["contentencoding"]) == ("application/x", "gzip")


async def test_modes_capture_one_side_or_none() -> None:
    for mode, kinds in ((LogMode.REQUEST, {"request"}), (LogMode.RESPONSE, {"response"})):
        async with staged(
            change=lambda given, mode=mode: replace(given, capture=replace(given.capture, mode=mode))
        ) as stage:  # type: ignore[misc]
            await stage.post(BODY)
            await stage.sink.wait_for(1)
            assert {event.type.rsplit(".", 1)[1] for event in stage.sink.events} == kinds
    async with staged(change=lambda given: with_delivery(given, url="")) as stage:
        assert (await stage.post(BODY)).body == BODY
        assert await stage.metric("wayside_logger_events_captured_total") == 0


@pytest.mark.parametrize("kind", [b"application/cloudevents+json", b"Application/CloudEvents-batch+json; a=b"])
async def test_a_body_that_is_a_cloud_event_is_data_and_not_the_event(stage: Stage, kind: bytes) -> None:
    forged = b'{"specversion":"1.0","id":"forged","source":"forged","type":"forged","data":{"instances":[[1]]}}'
    await stage.client.send(b"POST", stage.url(), [(b"content-type", kind)], forged, timeout_s=10)
    events = await stage.sink.wait_for(2)
    assert {event.source for event in events} == {"digits-pod"}
    assert len({event.id for event in events}) == 1
    assert stage.sink.of("request")[0].data == forged
    assert stage.sink.of("request")[0].datacontenttype == "application/json"


@pytest.mark.parametrize("length", [1, 1000, 20_000, 60_000])
async def test_metadata_of_any_size_drops_no_event(stage: Stage, length: int) -> None:
    await stage.post(b"{}", (b"x-tenant", b"\xe9" * length), (b"x-tenant", b"short"))
    for event in await stage.sink.wait_for(2):
        kept = json.loads(event.extensions["metadata"])["X-Tenant"]
        assert kept == (["\xe9" * length, "short"] if length <= 1000 else ["short"])


async def test_a_body_over_the_limit_is_passed_on_and_its_event_is_counted_as_dropped() -> None:
    def small(given: LoggerSettings) -> LoggerSettings:
        return replace(given, capture=replace(given.capture, body_bytes=1000, oversize=Oversize.SKIP))

    async with staged(change=small) as stage:
        large = b'"' + b"x" * 50_000 + b'"'
        assert (await stage.post(large)).body == large
        await stage.post(BODY)
        await stage.sink.wait_for(2)
        assert await stage.metric('wayside_logger_events_dropped_total{kind="request",reason="too_large"}') == 1
        assert await stage.metric("wayside_logger_events_dropped_total") == 2
        assert [event.data for event in stage.sink.events] == [BODY, BODY]


async def test_a_sink_that_fails_for_a_while_loses_nothing(stage: Stage) -> None:
    stage.sink.statuses = [503, 500, 429, 404]
    for number in range(10):
        await stage.post(b"%d" % number)
    await stage.sink.wait_for(20)
    assert sorted(event.data for event in stage.sink.of("request")) == [b"%d" % number for number in range(10)]
    assert await stage.metric("wayside_logger_events_dropped_total") == 0


async def test_what_the_sink_refuses_for_good_is_dropped_and_counted(stage: Stage) -> None:
    stage.sink.statuses = [400, 301]
    await stage.post(BODY)
    async with asyncio.timeout(5):
        while await stage.metric("wayside_logger_events_dropped_total") < 2:
            await asyncio.sleep(0.01)
    assert stage.sink.events == []


async def test_a_sink_that_hangs_delays_no_client_and_every_event_is_accounted_for() -> None:
    def bounded(given: LoggerSettings) -> LoggerSettings:
        return with_delivery(given, queue_events=20, workers=2, timeout_s=30.0)

    async with staged(change=bounded) as stage:
        stage.sink.free.clear()
        async with asyncio.timeout(10):
            for _ in range(100):
                assert (await stage.post(BODY)).status == 200
        captured = await stage.metric("wayside_logger_events_captured_total")
        dropped = await stage.metric("wayside_logger_events_dropped_total")
        waiting = await stage.metric("wayside_logger_queue_events")
        assert (captured, waiting) == (200, 20)
        assert dropped == captured - waiting - 2  # two are in the hands of the workers
        stage.sink.free.set()
        await stage.sink.wait_for(22)


async def test_stopping_flushes_what_waits() -> None:
    stage: Stage
    async with staged(echo) as stage:
        stage.sink.free.clear()
        for _ in range(30):
            await stage.post(BODY)
        stopping = asyncio.create_task(stage.logger.stop())
        stage.sink.free.set()
        await stopping
        assert len(stage.sink.events) == 60
