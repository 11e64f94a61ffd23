"""The proxy passes on what it gets, as it gets it: every framing, in any pieces, in both directions."""

import asyncio
import socket
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logger_stage import HOST, Stage, before, staged, staged_raw

from wayside.eventing.http.message import Request, Response

REQUEST = b"POST /p HTTP/1.1\r\nhost: m\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /p HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\nt: 1\r\n\r\n"
)


async def shout(request: Request) -> Response:
    return Response(200, [(b"x-model", b"m")], request.body.upper())


@pytest.mark.parametrize("message", [REQUEST, CHUNKED])
async def test_a_request_in_single_bytes_is_the_same_request(message: bytes) -> None:
    async with staged(shout) as stage:
        pieces = [message[i : i + 1] for i in range(len(message))]
        said = await stage.talk(*pieces, until=b"HELLO")
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert said.endswith(b"HELLO")
        await stage.sink.wait_for(2)
        assert (stage.sink.of("request")[0].data, stage.sink.of("response")[0].data) == (b"hello", b"HELLO")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=6))
def test_any_cut_of_the_stream_gives_the_same_events(cuts: list[int]) -> None:
    async def run() -> None:
        edges = [0, *sorted(set(cuts)), len(CHUNKED)]
        pieces = [CHUNKED[a:b] for a, b in pairwise(edges)]
        async with staged(shout) as stage:
            await stage.talk(*pieces, until=b"HELLO")
            await stage.sink.wait_for(2)
            assert stage.sink.of("request")[0].data == b"hello"

    asyncio.run(run())


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    requests = b"".join(REQUEST.replace(b"hello", b"%05d" % number) for number in range(20))
    said = await stage.talk(requests, until=b"00019")
    assert [part[:5] for part in said.split(b"\r\n\r\n")[1:]] == [b"%05d" % number for number in range(20)]
    await stage.sink.wait_for(40)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_every_framing_of_a_response_arrives_byte_by_byte(answer: bytes, body: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        for number in range(len(answer)):
            writer.write(answer[number : number + 1])
            await writer.drain()

    async with staged_raw(serve) as stage:
        response = await stage.client.send(b"POST", stage.url(), [], b"hello", timeout_s=5)
        assert response.body == body
        if response.status == 200:
            await stage.sink.wait_for(2)
            assert stage.sink.of("response")[0].data == b"abc"


async def test_a_part_of_a_response_arrives_before_the_rest_exists() -> None:
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await go_on.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(REQUEST)
        assert await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)
        go_on.set()
        assert (await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)).count(b"data: 2") == 1
        writer.close()
        await stage.sink.wait_for(2)
        assert stage.sink.of("response")[0].data == b"data: 1\n\ndata: 2\n\n"


async def test_a_part_of_a_request_reaches_the_model_before_the_rest_is_sent() -> None:
    met = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hel")
        met.set()
        await reader.readuntil(b"lo")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(REQUEST[:-2])
        await asyncio.wait_for(met.wait(), 5)
        writer.write(REQUEST[-2:])
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()


async def test_an_upgraded_connection_is_a_tunnel() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: websocket" in head.lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nserver first"
        )
        assert await reader.readexactly(4) == b"\x00\x01ab"
        writer.write(b"\x02bye")

    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(b"GET /ws HTTP/1.1\r\nhost: m\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
        assert b"101 Switching" in await asyncio.wait_for(reader.readuntil(b"server first"), 5)
        writer.write(b"\x00\x01ab")
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"\x02bye"
        writer.close()
        assert stage.sink.events == []


async def test_head_and_errors_keep_the_connection() -> None:
    async with staged(shout) as stage:
        head = b"HEAD /p HTTP/1.1\r\nhost: m\r\n\r\n"
        said = await stage.talk(head + REQUEST, until=b"HELLO")
        assert said.count(b"HTTP/1.1 200") == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_model_that_is_down_is_a_502_and_recovers() -> None:
    port = free_port()
    async with before(port) as stage:
        response = await stage.post(b"{}")
        assert response.status == 502
        assert b"is down" in response.body
        model = await asyncio.start_server(_answer_once, HOST, port)
        assert (await stage.post(b"{}")).status == 200
        model.close()
        assert await stage.metric('wayside_logger_responses_total{code="502"}') == 1


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"{}")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"nonsense\r\n\r\n"])
async def test_a_model_that_breaks_off_before_its_answer_is_a_502(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(answer)

    async with staged_raw(serve) as stage:
        assert (await stage.client.send(b"POST", stage.url(), [], b"hello", timeout_s=5)).status == 502


async def test_a_model_that_breaks_off_in_its_answer_breaks_the_clients_connection_and_its_event_says_so() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")

    async with staged_raw(serve) as stage:
        assert (await stage.talk(REQUEST)).endswith(b"\r\n\r\npart")
        await stage.sink.wait_for(2)
        (cut,) = stage.sink.of("response")
        assert (cut.data, cut.extensions["truncated"]) == (b"part", "true")


async def test_a_client_that_leaves_frees_the_model() -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        with suppress(ConnectionError):
            await reader.read()
        left.set()

    async with staged_raw(serve) as stage:
        _, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(REQUEST)
        await stage.sink.wait_for(1)
        writer.transport.abort()
        await asyncio.wait_for(left.wait(), 5)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: m\r\nx: " + b"y" * (2 << 20) + b"\r\n\r\n", b"431"),
    ],
)
async def test_what_is_no_request_is_refused(stage: Stage, message: bytes, status: bytes) -> None:
    assert (await stage.talk(message)).startswith(b"HTTP/1.1 " + status)
    assert stage.sink.events == []
    assert (await stage.post(b"{}")).status == 200


async def test_a_slow_client_holds_the_model_back_and_gets_every_byte() -> None:
    size = 20 << 20

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(b"x" * (1 << 16))
            await writer.drain()

    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        while received < size:
            received += len(await asyncio.wait_for(reader.read(1 << 20), 10))
        assert received == size
        writer.close()


async def test_hop_by_hop_fields_stay_behind_and_forwarding_is_told() -> None:
    seen: list[Request] = []

    async def look(request: Request) -> Response:
        seen.append(request)
        return Response(200, [(b"connection", b"x-secret"), (b"x-secret", b"1"), (b"keep-alive", b"5")])

    async with staged(look) as stage:
        sent = [(b"connection", b"x-mine"), (b"x-mine", b"1"), (b"te", b"trailers"), (b"x-forwarded-for", b"10.0.0.9")]
        response = await stage.client.send(
            b"POST", stage.url("/a?b=c"), [*sent, (b"x-forwarded-proto", b"https")], b"{}", timeout_s=5
        )
        assert response.header(b"x-secret") is None
        request = seen[0]
        assert request.target == b"/a?b=c"
        assert {name for name, _ in request.headers}.isdisjoint({b"x-mine", b"te", b"connection"})
        assert request.header(b"x-forwarded-for") == b"10.0.0.9, 127.0.0.1"
        assert request.header(b"forwarded") == b"for=10.0.0.9;proto=https"
