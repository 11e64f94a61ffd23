"""What a connection may cost, and what becomes of it at a limit: unsent bytes, offers of HTTP/2, stalls, the end."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import replace

import pytest
from grpc_stage import PREFACE, REST, SETTINGS, Headers
from logger_stage import HOST, before, staged, staged_raw, with_delivery

from wayside.eventing.http.message import Request, Response
from wayside.logger.counts import LoggerCounts
from wayside.logger.http2.observer import Http2Counts
from wayside.logger.metrics import LoggerMetrics
from wayside.logger.proxy.upstream import UpstreamPool
from wayside.logger.settings import LoggerSettings, Upstream

STREAMS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ASKED = b"POST / HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"
OFFER = b"GET /%d HTTP/1.1\r\nhost: m\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"


@pytest.mark.parametrize(("size_bytes", "kept"), [(10, True), (8 << 20, False)])
async def test_a_connection_with_unsent_bytes_carries_no_second_exchange(size_bytes: int, kept: bool) -> None:
    with socket.create_server((HOST, 0)) as deaf:
        pool = UpstreamPool(Upstream(HOST, deaf.getsockname()[1]))
        connection = await pool.connect()
        connection.write([bytes(size_bytes)])
        await asyncio.sleep(0)
        pool.give_back(connection)
        assert (pool.take() is connection) is kept
        connection.close()


async def test_offers_of_http_2_that_come_in_one_read_are_all_answered() -> None:
    async def tell(request: Request) -> Response:
        return Response(200, [], request.path.encode())

    async with staged(tell) as stage:
        said = await stage.talk(b"".join(OFFER % number for number in range(300)), until=b"/299")
        assert said.count(b"HTTP/1.1 200") == 300


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A model that streams its answer from the request's head on, until somebody leaves."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(STREAMS)
    while True:
        writer.write(b"2\r\nhi\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def test_a_request_that_pauses_cuts_no_answer_that_comes() -> None:
    async with staged_raw(endless) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(ASKED)
        await reader.readuntil(b"hi")
        asked_s = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < asked_s + 0.01:
            await reader.readuntil(b"hi")
        (peer,) = stage.logger._server._proxy.peers
        peer.sweep(asked_s + 120.001)
        assert peer in stage.logger._server._proxy.peers
        await reader.readuntil(b"hi")
        writer.close()


async def test_a_client_that_waits_for_the_models_word_is_not_given_up() -> None:
    reached, word = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        await word.wait()
        writer.write(b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with staged_raw(slow) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: m\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        await reached.wait()
        for peer in list(stage.logger._server._proxy.peers):
            peer.sweep(asyncio.get_running_loop().time() + 600)
        word.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 417 ")
        writer.close()


async def test_an_answer_that_the_end_cuts_off_makes_its_event_and_the_event_is_sent() -> None:
    def short(given: LoggerSettings) -> LoggerSettings:
        return replace(given, grace_s=0.4, quiet_s=0.0)

    left = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await endless(reader, writer)
        writer.close()
        left.set()

    async with (
        await asyncio.start_server(handle, HOST, 0) as model,
        before(model.sockets[0].getsockname()[1], short) as stage,
    ):
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: m\r\n\r\n")
        await reader.readuntil(b"hi")
        await stage.logger.stop()
        assert [len(stage.sink.of(kind)) for kind in ("request", "response")] == [1, 1]
        assert stage.sink.of("response")[0].extensions["truncated"]
        assert not stage.logger.counts.dropped
        writer.close()
        await asyncio.wait_for(left.wait(), 5)


@pytest.mark.parametrize("captures", [True, False])
async def test_who_waits_for_quiet_hears_calls_over_http_2(captures: bool) -> None:
    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        await reader.read()
        writer.close()

    def change(given: LoggerSettings) -> LoggerSettings:
        return given if captures else with_delivery(given, url="")

    async with (
        await asyncio.start_server(model, HOST, 0) as server,
        before(server.sockets[0].getsockname()[1], change) as stage,
    ):
        loop = asyncio.get_running_loop()
        end_s, calls = loop.time() + 0.6, 0
        quiet = asyncio.create_task(stage.logger._server.wait_quiet(0.4, 10.0))
        while loop.time() < end_s:
            reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
            writer.write(PREFACE + SETTINGS + Headers()(1, REST, end=True))
            await reader.readexactly(len(SETTINGS))
            writer.close()
            calls += 1
            await asyncio.sleep(0.02)
        assert not quiet.done()
        await quiet
        assert await stage.metric("wayside_logger_http2_streams_total") == calls


def test_every_reason_for_a_drop_over_http_2_is_there_from_the_start() -> None:
    metrics = LoggerMetrics(LoggerCounts(), None, Http2Counts()).collect()
    (dropped,) = [metric for metric in metrics if metric.name == "wayside_logger_events_dropped"]
    reasons = {sample.labels["reason"] for sample in dropped.samples if not sample.value}
    assert reasons >= {"too_many_streams", "unreadable"}
