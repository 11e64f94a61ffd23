"""The HTTP client against raw servers, good and bad, and against our own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.http.url import Origin, Url

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
_PATIENCE_S = 10.0
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _RawServer:
    """Answers each request head with a script of byte strings; counts its connections."""

    def __init__(self, pieces: list[bytes], closes: bool) -> None:
        self._pieces = pieces
        self._closes = closes
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []

    @property
    def open(self) -> int:
        return len(self.tasks)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            while not writer.is_closing():
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in self._pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self._closes:
                    writer.close()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def _raw(pieces: list[bytes], closes: bool = False) -> AsyncIterator[tuple[_RawServer, Url]]:
    raw = _RawServer(pieces, closes)
    async with _listening(raw.accept) as url:
        yield raw, url
        for task in list(raw.tasks):
            task.cancel()
        if raw.tasks:
            await asyncio.wait(raw.tasks)


@asynccontextmanager
async def _listening(accept: Accept) -> AsyncIterator[Url]:
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Url.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/p?q=1")
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def _client(idle_limit: int = 64, idle_s: float = 4.0) -> AsyncIterator[HttpClient]:
    client = HttpClient(idle_limit, idle_s)
    try:
        yield client
    finally:
        await client.close()


async def _get(client: HttpClient, url: Url, timeout_s: float = _PATIENCE_S) -> Response:
    return await client.send(b"GET", url, [(b"x", b"y")], timeout_s=timeout_s)


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nX-Trailer: t\r\n\r\n"
_ANSWERS = [
    (_OK, 200, b"ok", False),
    (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (_CHUNKED, 200, b"ok", False),
    (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 202, b"", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", False),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _OK, 200, b"ok", False),
    (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", 500, b"no", True),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil the close", 200, b"until the close", True),
    (b"HTTP/1.0 200 OK\r\n\r\nuntil the close", 200, b"until the close", True),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", 302, b"", False),
]


@pytest.mark.parametrize(("answer", "status", "body", "closes"), _ANSWERS)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_an_answer_is_read_whole_and_in_pieces(
    answer: bytes, status: int, body: bytes, closes: bool, size: int
) -> None:
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    async with _raw(pieces, closes) as (raw, url), _client() as client:
        for _ in range(3):
            response = await _get(client, url)
            assert (response.status, response.body) == (status, body)
            assert response.header(b"x-trailer") is None
        assert raw.connections == (3 if closes else 1)


async def test_the_request_is_as_asked() -> None:
    async with _raw([_OK]) as (raw, url), _client() as client:
        await client.send(b"POST", url, [(b"ce-id", b"1")], b"", timeout_s=_PATIENCE_S)
        lines = raw.requests[0].split(b"\r\n")
        assert lines[0] == b"POST /p?q=1 HTTP/1.1"
        assert set(lines[1:-2]) == {b"host: " + url.host, b"content-length: 0", b"ce-id: 1"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nbytes",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"<html>not http</html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 17000000\r\n\r\n" + b"x" * 17_000_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 17_000_000,
    ],
)
async def test_an_answer_that_is_none_is_unreachable(answer: bytes, eventually: Eventually) -> None:
    async with _raw([answer], closes=True) as (raw, url), _client() as client:
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
                await _get(client, url)
        assert raw.connections == 2
        await eventually(lambda: raw.open == 0)


async def test_a_body_until_the_close_that_ends_in_a_reset_is_no_answer() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()  # what was not read makes it a reset

    async with _listening(reset) as url, _client() as client:
        with pytest.raises(Unreachable):
            await client.send(b"POST", url, [], b"x" * 5_000_000, timeout_s=_PATIENCE_S)


@pytest.mark.parametrize(
    "extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"HTTP/1.1 200 OK\r\nContent-Le", b"more", b"\r\nx"]
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_answer_nobody_asked_for_never_answers_the_next_request(
    extra: bytes, together: bool, eventually: Eventually
) -> None:
    pieces = [_OK + extra] if together else [_OK, extra]
    async with _raw(pieces) as (raw, url), _client() as client:
        for _ in range(3):
            assert (await _get(client, url)).body == b"ok"
            await eventually(lambda: raw.open == 0)
        assert raw.connections == 3


async def test_a_connection_that_the_server_closed_is_not_used_again(eventually: Eventually) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, [], request.body)

    server = HttpServer(handler, "127.0.0.1", 0, ServerLimits(idle_s=0.02))
    await server.start()
    url = Url.parse(f"http://127.0.0.1:{server.port}/")
    async with _client() as client:
        for _ in range(3):
            assert (await client.send(b"POST", url, [], b"x", timeout_s=_PATIENCE_S)).body == b"x"
            await eventually(lambda: server.open_connections == 0)
    await server.stop()


async def test_a_connection_that_lay_idle_too_long_is_not_used_again() -> None:
    async with _raw([_OK]) as (raw, url), _client(idle_s=0.0) as client:
        for _ in range(2):
            await _get(client, url)
        assert raw.connections == 2


async def test_idle_connections_are_bounded_and_used_again(eventually: Eventually) -> None:
    async with _raw([_OK]) as (raw, url), _client(idle_limit=2) as client:
        await asyncio.gather(*(_get(client, url) for _ in range(5)))
        assert raw.connections == 5
        await eventually(lambda: raw.open == 2)
        await asyncio.gather(*(_get(client, url) for _ in range(2)))
        assert raw.connections == 5


async def test_close_closes_what_is_idle_and_what_comes_back(eventually: Eventually) -> None:
    release = asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        await release.wait()
        return Response(200)

    began = asyncio.Event()
    server = HttpServer(handler, "127.0.0.1", 0)
    await server.start()
    client = HttpClient()
    asking = asyncio.create_task(_get(client, Url.parse(f"http://127.0.0.1:{server.port}/")))
    await began.wait()
    await client.close()
    await client.close()
    release.set()
    assert (await asking).status == 200
    await eventually(lambda: server.open_connections == 0)
    await server.stop()


@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 200 OK\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"]])
async def test_no_answer_in_time_is_unreachable_and_leaves_no_connection(
    pieces: list[bytes], eventually: Eventually
) -> None:
    async with _raw(pieces) as (raw, url), _client() as client:
        with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
            await _get(client, url, timeout_s=0.05)
        await eventually(lambda: raw.open == 0)


async def test_a_request_that_is_cancelled_leaves_no_connection(eventually: Eventually) -> None:
    async with _raw([]) as (raw, url), _client() as client:
        asking = asyncio.create_task(_get(client, url))
        await eventually(lambda: len(raw.requests) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: raw.open == 0)


async def test_a_connection_refused_is_unreachable() -> None:
    async with _raw([]) as (_, url):
        pass
    async with _client() as client:
        with pytest.raises(Unreachable, match=url.text.replace("?", r"\?")):
            await _get(client, url)


async def test_a_host_that_does_not_exist_is_unreachable() -> None:
    async with _client() as client:
        with pytest.raises(Unreachable):
            await _get(client, Url.parse("http://no.such.host.invalid/"))


async def test_tls_to_a_server_that_speaks_none_is_unreachable() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with _listening(answer) as url, _client() as client:
        with pytest.raises(Unreachable, match="SSL"):
            await _get(client, Url.parse(url.text.replace("http://", "https://")))


@asynccontextmanager
async def _ours(limits: ServerLimits | None = None) -> AsyncIterator[Url]:
    async def handler(request: Request) -> Response:
        return Response(200, [(b"x", request.header(b"x") or b"")], request.method + b" " + request.body)

    server = HttpServer(handler, "127.0.0.1", 0, limits)
    await server.start()
    try:
        yield Url.parse(f"http://127.0.0.1:{server.port}/")
    finally:
        await server.stop(grace_s=0.1)


async def test_client_and_server_understand_each_other() -> None:
    async with _ours() as url, _client() as client:
        for size in (0, 1, 100_000, 10 << 20):
            response = await client.send(b"POST", url, [(b"x", b"y")], b"x" * size, timeout_s=_PATIENCE_S)
            assert (response.status, len(response.body), response.header(b"x")) == (200, size + 5, b"y")
        head = await client.send(b"HEAD", url, [], timeout_s=_PATIENCE_S)
        assert (head.status, head.body, head.header(b"content-length")) == (200, b"", b"5")
        assert (await _get(client, url)).body == b"GET "


@pytest.mark.parametrize("size", [2_000, 200_000, 20_000_000])
async def test_a_body_that_is_refused_is_told_so_and_not_reset(size: int) -> None:
    async with _ours(ServerLimits(body_bytes=1000)) as url, _client() as client:
        for _ in range(3):
            assert (await client.send(b"POST", url, [], b"x" * size, timeout_s=_PATIENCE_S)).status == 413


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: _OK + tail))
def test_no_answer_raises_anything_but_unreachable(answer: bytes) -> None:
    async def ask() -> None:
        async with _raw([answer], closes=True) as (_, url), _client() as client:
            with suppress(Unreachable):
                await _get(client, url)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("text", "origin", "target", "host"),
    [
        ("http://h", Origin("h", 80, False), b"/", b"h"),
        ("https://h/", Origin("h", 443, True), b"/", b"h"),
        ("http://H:8080/a/b?c=d#e", Origin("h", 8080, False), b"/a/b?c=d", b"H:8080"),
        ("http://h?x", Origin("h", 80, False), b"/?x", b"h"),
        ("http://[::1]:9/%20", Origin("::1", 9, False), b"/%20", b"[::1]:9"),
    ],
)
def test_a_url_is_read(text: str, origin: Origin, target: bytes, host: bytes) -> None:
    assert Url.parse(text) == Url(origin, target, host, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h:80",
        "/path",
        "//h/",
        "ftp://h/",
        "http://",
        "http:///p",
        "http://h:port/",
        "http://h:65536/",
        "http://[::1/",
        "http://a..b/",
        "http://" + "x" * 70 + "/",
        "http://h/a b",
        "http://h/\r\nx: y",
        "http://h/\x00",
        "http://h/ü",
        "http://user:secret@h/",
    ],
)
def test_what_is_no_url_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Url.parse(text)
    assert "secret" not in str(refused.value)
