"""What an HTTP server bounds: connections, headers, bodies held at once, and how long a client is waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import pytest
from http_stage import PATIENCE_S, Client, connected, echo, serving, talking

from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import ServerLimits

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
_GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
_HURRIED = ServerLimits(idle_s=0.1)


def _post(size: int) -> bytes:
    return b"POST /p HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


async def test_a_connection_too_many_is_told_to_come_later(eventually: Eventually) -> None:
    async with serving(echo, ServerLimits(connections=2)) as server, connected(server) as first:
        async with connected(server) as second:
            for client in (first, second):
                client.send(_GET)
                assert (await client.response())[0] == 200
            async with connected(server) as third:
                status, headers, reason = await third.response()
                assert (status, headers[b"retry-after"], headers[b"connection"]) == (503, b"1", b"close")
                assert reason == b"2 connections are open\n"
                assert await third.rest() == b""
            assert server.refused_connections == 1
            first.send(_GET)
            assert (await first.response())[0] == 200
        await eventually(lambda: server.open_connections == 1)
        async with connected(server) as fourth:
            fourth.send(_GET)
            assert (await fourth.response())[0] == 200
        assert server.refused_connections == 1


async def test_a_flood_of_connections_is_shut_out_and_the_one_before_it_served() -> None:
    async with serving(echo, ServerLimits(connections=1)) as server, connected(server) as first, AsyncExitStack() as s:
        first.send(_GET)
        assert (await first.response())[0] == 200
        flood = [await s.enter_async_context(connected(server)) for _ in range(80)]
        said = [await _rest(client) for client in flood]
        assert sum(text.startswith(b"HTTP/1.1 503 ") for text in said) == 64
        assert sum(text == b"" for text in said) == 16
        assert server.refused_connections == 80
        first.send(_GET)
        assert (await first.response())[0] == 200


async def _rest(client: Client) -> bytes:
    """What comes until the end, be it a close or a reset."""
    with suppress(ConnectionError):
        return await client.rest()
    return b""


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX: ",
        b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        _GET + b"GET / HTTP/1.1\r\nX: ",
    ],
)
@pytest.mark.parametrize("drip", [b"", b"x"])
async def test_a_client_that_drips_is_given_up_like_one_that_is_silent(beginning: bytes, drip: bytes) -> None:
    """The time counts from the last answer to the next whole request: no byte in between begins it anew."""
    async with talking(echo, _HURRIED) as client:
        client.send(beginning)
        began = asyncio.get_running_loop().time()
        ending = asyncio.create_task(_rest(client))
        while not ending.done():
            if drip and not client.writer.transport.is_closing():
                client.send(drip)
            await asyncio.wait([ending], timeout=0.01)
        assert asyncio.get_running_loop().time() - began < PATIENCE_S / 2


@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize("last", [b"", b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", b"no http\r\n\r\n"])
async def test_a_client_that_never_reads_is_given_up(count: int, last: bytes, eventually: Eventually) -> None:
    async def handler(_: Request) -> Response:
        return Response(200, [], b"x" * (8 << 20))

    async with serving(handler, _HURRIED) as server, connected(server) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(_GET * count + last)
        await eventually(lambda: server.open_connections == 1)
        await eventually(lambda: server.open_connections == 0)
        assert server.body_bytes == 0


async def test_bodies_over_the_sum_of_all_are_told_to_come_later_and_room_comes_back(eventually: Eventually) -> None:
    async def handler(request: Request) -> Response:
        began.set()
        await release.wait()
        return await echo(request)

    began, release = asyncio.Event(), asyncio.Event()
    limits = ServerLimits(body_bytes=1000, total_body_bytes=1500)
    async with serving(handler, limits) as server, connected(server) as first, connected(server) as second:
        first.send(_post(1000))
        await began.wait()
        assert server.body_bytes == 1000
        second.send(_post(501))
        status, headers, _ = await second.response()
        assert (status, headers[b"retry-after"], headers[b"connection"]) == (503, b"1", b"close")
        async with connected(server) as third:
            third.send(_post(500))
            await eventually(lambda: server.body_bytes == 1500)
            release.set()
            assert (await third.response())[0] == (await first.response())[0] == 200
        assert server.body_bytes == 0


_CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        _post(900)[:-1],
        _post(900) * 30 + _post(900)[:-1],
        _post(1001),
        _CHUNKED + b"384\r\n" + b"x" * 900,
        _CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\nzz",
        _post(900) + b"no http\r\n\r\n",
    ],
)
async def test_no_body_is_held_for_a_client_that_is_gone(request_bytes: bytes, eventually: Eventually) -> None:
    async with serving(echo, ServerLimits(body_bytes=1000)) as server:
        async with connected(server) as client:
            client.send(request_bytes)
            await client.writer.drain()
            await eventually(lambda: server.open_connections == 1)
        await eventually(lambda: server.open_connections == 0)
        assert server.body_bytes == 0


@pytest.mark.parametrize(("count", "status"), [(256, 200), (257, 431)])
@pytest.mark.parametrize("size", [5, 100_000])
async def test_headers_are_counted(count: int, status: int, size: int) -> None:
    request = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * count + b"\r\n"
    async with talking(echo, ServerLimits()) as client:
        for start in range(0, len(request), size):
            client.send(request[start : start + size])
            await asyncio.sleep(0)
        assert (await client.response())[0] == status


async def test_headers_without_an_end_are_counted_before_it() -> None:
    async with talking(echo, ServerLimits()) as client:
        client.send(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300)
        status, _, reason = await client.response()
        assert (status, reason) == (431, b"more than 256 headers\n")


def _at_once(request: Request) -> Response:
    return Response(200, [], request.target)


def _by_future(request: Request) -> asyncio.Future[Response]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Response] = loop.create_future()
    loop.call_soon(answer.set_result, _at_once(request))
    return answer


async def _by_coroutine(request: Request) -> Response:
    await asyncio.sleep(0)
    return _at_once(request)


_FORMS = (_at_once, _by_future, _by_coroutine)


async def test_a_handler_may_answer_at_once_by_a_future_or_by_a_coroutine() -> None:
    def handler(request: Request) -> Response | Awaitable[Response]:
        return _FORMS[int(request.path[1:]) % len(_FORMS)](request)

    async with talking(handler) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(3000)))
        assert [(await client.response())[2] for _ in range(3000)] == [b"/%d" % number for number in range(3000)]


def _raises(_: Request) -> Response:
    raise RuntimeError("mine")


def _cancelled(_: Request) -> asyncio.Future[Response]:
    answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    answer.cancel()
    return answer


def _nothing(_: Request) -> None:
    return None


@pytest.mark.parametrize("handler", [_raises, _cancelled, _nothing])
async def test_a_handler_of_any_form_that_fails_is_a_500_and_the_connection_lives(
    handler: Callable[[Request], object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("CRITICAL", "wayside.http"):
        async with talking(lambda request: handler(request) if request.path == "/a" else _at_once(request)) as client:
            client.send(_GET + b"GET /fine HTTP/1.1\r\n\r\n")
            assert (await client.response())[0] == 500
            assert (await client.response())[2] == b"/fine"


async def test_a_future_that_a_handler_gave_is_left_alone_when_the_server_stops() -> None:
    answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    began = asyncio.Event()

    def handler(_: Request) -> asyncio.Future[Response]:
        began.set()
        return answer

    async with serving(handler) as server, connected(server) as client:
        client.send(_post(5))
        await began.wait()
        await server.stop(grace_s=0)
        assert not answer.cancelled()
        answer.set_result(Response(200))
        await asyncio.sleep(0)
        assert (server.open_connections, server.body_bytes) == (0, 0)
