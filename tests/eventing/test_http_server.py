"""The HTTP server against raw sockets: what a client may send, whole and byte by byte, and what it gets for it."""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from http_stage import Client, connected, echo, serving, talking
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.message import Request, Response, head
from wayside.eventing.http.server import HttpServer, ServerLimits

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


_GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"
_POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
_CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: trailer\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_bytes", "body", "header"),
    [
        (_GET, b"GET /a?b=c ", b"y"),
        (_POST, b"POST /p hello", b""),
        (_CHUNKED, b"POST /c hello", b""),
        (b"\r\n" + _GET, b"GET /a?b=c ", b"y"),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"OPTIONS * ", b""),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_request_is_read_whole_and_in_pieces(
    request_bytes: bytes, body: bytes, header: bytes, size: int
) -> None:
    async with talking() as client:
        for _ in range(2):
            for start in range(0, len(request_bytes), size):
                client.send(request_bytes[start : start + size])
                await client.writer.drain()
                await asyncio.sleep(0)
            status, headers, received = await client.response()
            assert (status, received, headers[b"x-header"]) == (200, body, header)
            assert b"connection" not in headers


async def test_pipelined_requests_are_answered_in_order_however_long_each_takes() -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/0":
            await release.wait()
        return Response(200, [], request.target)

    release = asyncio.Event()
    async with talking(handler) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(200)))
        release.set()
        assert [(await client.response())[2] for _ in range(200)] == [b"/%d" % number for number in range(200)]


async def test_a_client_that_never_stops_sending_is_not_read_ahead_of(eventually: Eventually) -> None:
    """What a client can push in is what the sockets and one read hold, however many answers it was given."""
    taken: list[bytes] = []
    sent: list[int] = []

    async def handler(request: Request) -> Response:
        taken.append(request.target)
        await step.acquire()
        return Response(200)

    async def fill(client: Client) -> None:
        while True:
            client.send(_GET * 1000)
            sent.append(len(_GET) * 1000)
            await client.writer.drain()

    step = asyncio.Semaphore(0)
    async with talking(handler) as client:
        filling = asyncio.create_task(fill(client))
        for count in range(1, 200):
            await eventually(lambda count=count: len(taken) >= count)
            step.release()
        filling.cancel()
        await asyncio.wait([filling])
    assert sum(sent) < 20 << 20


async def test_a_client_that_does_not_read_its_answers_is_given_up(eventually: Eventually) -> None:
    async def handler(_: Request) -> Response:
        return Response(200, [], b"x" * (1 << 20))

    async with serving(handler, ServerLimits(idle_s=0.2)) as server, connected(server) as client:
        client.send(_GET * 64)
        await eventually(lambda: server.open_connections == 1)
        await eventually(lambda: server.open_connections == 0)


@pytest.mark.parametrize(
    ("request_bytes", "closes"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
async def test_a_connection_lives_as_long_as_the_client_asks(request_bytes: bytes, closes: bool) -> None:
    async with talking() as client:
        client.send(request_bytes)
        _, headers, _ = await client.response()
        assert headers.get(b"connection") == (b"close" if closes else None)
        if closes:
            assert await client.rest() == b""
        else:
            client.send(_GET)
            assert (await client.response())[0] == 200


async def test_100_continue_comes_before_the_body_is_sent() -> None:
    async with talking() as client:
        client.send(b"POST /p HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n")
        assert (await client.response())[0] == 100
        client.send(b"hello")
        assert (await client.response())[2] == b"POST /p hello"


async def test_a_body_announced_too_large_is_refused_before_it_is_sent() -> None:
    async with talking() as client:
        client.send(b"POST /p HTTP/1.1\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response())[0] == 413
        assert await client.rest() == b""


_TOO_LARGE = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3
_BAD_REQUESTS = [
    (_TOO_LARGE, 413),
    (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, 413),
    (b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, 413),
    (b"GET /" + b"x" * 600 + b" HTTP/1.1\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 600 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300 + b"\r\n", 431),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 300 + b"\r\n", 431),
    (b"no http at all\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
]


@pytest.mark.parametrize(("request_bytes", "status"), _BAD_REQUESTS)
@pytest.mark.parametrize("size", [3, 10_000_000])
async def test_a_request_that_cannot_be_served_is_told_why(request_bytes: bytes, status: int, size: int) -> None:
    if len(request_bytes) > 100_000:
        size = max(size, 10_000)
    async with talking() as client:
        client.send(_GET)
        assert (await client.response())[0] == 200
        for start in range(0, len(request_bytes), size):
            client.send(request_bytes[start : start + size])
            await asyncio.sleep(0)
        received, headers, reason = await client.response()
        assert (received, headers[b"connection"]) == (status, b"close")
        assert reason.endswith(b"\n")
        assert await client.rest() == b""


async def test_a_header_without_an_end_is_bounded() -> None:
    async with talking() as client:
        client.send(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(100):
            client.send(b"x" * 100)
            await asyncio.sleep(0)
        assert (await client.response())[0] == 431


async def test_small_heads_in_small_pieces_are_not_counted_together() -> None:
    async with talking() as client:
        for byte in b"".join(
            b"POST / HTTP/1.1\r\nX: %s\r\nContent-Length: 400\r\n\r\n" % (b"x" * 300) + b"y" * 400 for _ in "ab"
        ):
            client.send(bytes((byte,)))
            await client.writer.drain()
        assert [(await client.response())[0] for _ in range(2)] == [200, 200]


async def test_requests_that_came_whole_are_answered_before_the_one_that_is_refused() -> None:
    async def handler(request: Request) -> Response:
        await release.wait()
        return await echo(request)

    release = asyncio.Event()
    async with talking(handler) as client:
        client.send(_GET + _POST + b"garbage\r\n\r\n" + _GET)
        release.set()
        assert [(await client.response())[0] for _ in range(3)] == [200, 200, 400]
        assert await client.rest() == b""


class _NoResponse:
    """What a handler must not return."""


async def _raises(_: Request) -> Response:
    raise RuntimeError("mine")


async def _waits_for_what_was_cancelled(_: Request) -> Response:
    waited = asyncio.get_running_loop().create_future()
    waited.cancel()
    await waited
    return Response(200)


async def _splits(request: Request) -> Response:
    return Response(200, [(b"x", b"a\r\nset-cookie: b")])


async def _returns_nothing(_: Request) -> Any:
    return _NoResponse()


@pytest.mark.parametrize("handler", [_raises, _waits_for_what_was_cancelled, _splits, _returns_nothing])
async def test_a_handler_that_fails_is_a_500_and_the_connection_lives(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def sometimes(request: Request) -> Response:
        return await (handler if request.method == b"GET" else echo)(request)

    with caplog.at_level(logging.CRITICAL, "wayside.http"):
        async with talking(sometimes) as client:
            client.send(_GET + _POST)
            status, headers, body = await client.response()
            assert (status, b"set-cookie" in headers) == (500, False)
            assert b"mine" not in body
            assert (await client.response())[2] == b"POST /p hello"


async def test_head_gets_the_headers_alone() -> None:
    async with talking() as client:
        client.send(b"HEAD /a HTTP/1.1\r\n\r\n" + _GET)
        status, headers, _ = await client.response(bodiless=True)
        assert (status, headers[b"content-length"]) == (200, b"8")
        assert (await client.response())[2] == b"GET /a?b=c "


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_announces_none(status: int) -> None:
    async def handler(_: Request) -> Response:
        return Response(status)

    async with talking(handler) as client:
        client.send(_GET)
        received, headers, _ = await client.response()
        assert (received, headers) == (status, {})


async def test_an_idle_connection_is_closed() -> None:
    async with talking(limits=ServerLimits(idle_s=0.05)) as client:
        assert await client.rest() == b""


async def test_a_connection_is_closed_when_idle_after_an_answer_and_while_half_a_request_waits() -> None:
    async with talking(limits=ServerLimits(idle_s=0.05)) as client:
        client.send(_GET + b"GET / HT")
        assert (await client.response())[0] == 200
        assert await client.rest() == b""


async def test_a_slow_handler_is_not_idle() -> None:
    async def handler(_: Request) -> Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.1
        while loop.time() < until:
            await asyncio.sleep(0.01)
        return Response(200)

    async with talking(handler, ServerLimits(idle_s=0.02)) as client:
        client.send(_GET)
        assert (await client.response())[0] == 200


async def test_a_client_that_shut_its_sending_side_gets_its_answers() -> None:
    async def handler(request: Request) -> Response:
        await release.wait()
        return await echo(request)

    release = asyncio.Event()
    async with talking(handler) as client:
        client.send(_GET + _POST)
        client.writer.write_eof()
        await asyncio.sleep(0)
        release.set()
        assert [(await client.response())[0] for _ in range(2)] == [200, 200]
        assert await client.rest() == b""


async def test_a_client_that_leaves_does_not_stop_its_request(eventually: Eventually) -> None:
    finished: list[bytes] = []
    release = asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        await release.wait()
        finished.append(request.target)
        return Response(200, [], b"x" * 100_000)

    began = asyncio.Event()
    async with serving(handler) as server:
        async with connected(server) as client:
            client.send(_GET)
            await began.wait()
            no_linger = struct.pack("ii", 1, 0)  # reset, so that the server learns of it at once
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        await eventually(lambda: server.open_connections == 0)
        release.set()
        await eventually(lambda: finished == [b"/a?b=c"])
        async with connected(server) as client:
            client.send(_POST)
            assert (await client.response())[0] == 200


async def test_stop_lets_requests_in_hand_finish_and_closes_the_idle() -> None:
    async def handler(request: Request) -> Response:
        began.set()
        await release.wait()
        return await echo(request)

    began, release = asyncio.Event(), asyncio.Event()
    async with serving(handler) as server, connected(server) as busy, connected(server) as idle:
        busy.send(_GET + _POST)
        await began.wait()
        stopping = asyncio.create_task(server.stop())
        assert await idle.rest() == b""
        release.set()
        first, second = await busy.response(), await busy.response()
        assert (first[0], first[1].get(b"connection")) == (200, None)
        assert (second[0], second[1].get(b"connection")) == (200, b"close")
        await stopping
        with pytest.raises(OSError):  # noqa: PT011  # refused, in whatever words
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_stop_ends_what_does_not_finish_and_may_be_called_twice() -> None:
    async def handler(_: Request) -> Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Response(200)

    began, ended = asyncio.Event(), asyncio.Event()
    async with serving(handler) as server, connected(server) as client:
        client.send(_GET)
        await began.wait()
        await server.stop(grace_s=0)
        assert ended.is_set()
        await server.stop()
        assert await _nothing(client)


async def _nothing(client: Client) -> bool:
    try:
        return await client.rest() == b""
    except ConnectionError:
        return True


async def test_stop_before_start_does_nothing() -> None:
    await HttpServer(echo, "127.0.0.1", 0).stop()


async def test_an_address_in_use_is_a_wrong_setting() -> None:
    async with serving() as server:
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{server.port}: .*in use"):
            await HttpServer(echo, "127.0.0.1", server.port).start()


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid", "a..b", "x" * 70])
async def test_an_address_that_is_not_ours_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen on {host}"):
        await HttpServer(echo, host, 0).start()


_OFFER = _POST.replace(b"Host: h", b"Connection: Upgrade\r\nUpgrade: h2c")
_PIECES = st.sampled_from(
    [
        _GET,
        _POST,
        _CHUNKED,
        _OFFER,
        b"\r\n",
        b"GET",
        b"HTTP/1.1",
        b"\0",
        b"Content-Length: 9\r\n",
        b"Expect: 100-continue",
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=20), max_size=8), st.integers(1, 50))
def test_no_bytes_stop_the_server(pieces: list[bytes], size: int) -> None:
    asyncio.run(_survives(b"".join(pieces), size))


async def _survives(data: bytes, size: int) -> None:
    async with serving() as server:
        async with connected(server) as client:
            for start in range(0, len(data), size):
                client.send(data[start : start + size])
                await asyncio.sleep(0)
            client.writer.write_eof()
            await client.rest()
        async with connected(server) as client:
            client.send(_GET)
            assert (await client.response())[0] == 200


@pytest.mark.parametrize("pair", [(b"x", b"a\r\nb: c"), (b"x", b"a\nb"), (b"x\r", b"a"), (b"a: b\r\nc", b"d")])
def test_a_head_holds_no_line_break_but_its_own(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break"):
        head(b"HTTP/1.1 200 OK\r\n", [(b"fine", b"x"), pair])
    with pytest.raises(ValueError, match="line break"):
        head(b"GET /\r\nx: y HTTP/1.1\r\n", [])
