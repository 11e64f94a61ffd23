"""What an HTTP client bounds: an answer at every byte, all answers together, how long a connection lies idle."""

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from wayside.eventing.http.client import AnswerLimits, HttpClient, Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_PATIENCE_S = 10.0
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def _answering(talk: Talk) -> AsyncIterator[Url]:
    """A server that reads the head of each connection's request, and then talks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Url.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    finally:
        server.close()
        await server.wait_closed()


def _saying(beginning: bytes, endless: bytes = b"") -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while endless and not writer.is_closing():
            writer.write(endless)
            await writer.drain()
            await asyncio.sleep(0)

    return talk


@asynccontextmanager
async def _client(limits: AnswerLimits | None = None, idle_s: float = 4.0) -> AsyncIterator[HttpClient]:
    client = HttpClient(idle_s=idle_s, limits=limits)
    try:
        yield client
    finally:
        await client.close()


async def _get(client: HttpClient, url: Url) -> Response:
    return await client.send(b"GET", url, [], timeout_s=_PATIENCE_S)


@pytest.mark.parametrize(
    ("beginning", "endless"),
    [
        (_CHUNKED + b"0\r\nx: ", b"a"),
        (_CHUNKED + b"0\r\n", b"a"),
        (_CHUNKED + b"0\r\n", b"x: y\r\n"),
        (_CHUNKED + b"1;x=", b"a"),
        (_CHUNKED + b"2\r\nhi\r\n0;x=", b"a"),
        (_CHUNKED, b"0"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("limits", [AnswerLimits(), AnswerLimits(head_bytes=500)])
async def test_no_part_of_an_answer_has_to_end_for_its_bound_to_hold(
    beginning: bytes, endless: bytes, limits: AnswerLimits
) -> None:
    async with _answering(_saying(beginning, endless * 2000)) as url, _client(limits) as client:
        with pytest.raises(Unreachable, match=f"over {limits.head_bytes} bytes"):
            await _get(client, url)


async def test_what_ends_in_time_is_not_counted_together() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = _CHUNKED + (b"1;x=" + b"y" * 300 + b"\r\nz\r\n") * 5 + b"0\r\nX: " + b"y" * 300 + b"\r\n\r\n"
        for byte in answer:
            writer.write(bytes((byte,)))
            await writer.drain()

    async with _answering(talk) as url, _client(AnswerLimits(head_bytes=500)) as client:
        assert (await _get(client, url)).body == b"zzzzz"


async def test_an_answer_in_tiny_chunks_takes_little_more_than_its_bytes(eventually: Eventually) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_CHUNKED + b"2\r\nab\r\n" * 100_000)
        await writer.drain()
        await measured.wait()
        writer.write(b"0\r\n\r\n")

    measured = asyncio.Event()
    async with _answering(talk) as url, _client() as client:
        tracemalloc.start()
        try:
            asking = asyncio.create_task(_get(client, url))
            await eventually(lambda: client.body_bytes == 200_000)
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert held < 2_000_000
        measured.set()
        assert (await asking).body == b"ab" * 100_000
        assert client.body_bytes == 0


async def test_the_bodies_of_all_answers_are_bounded_together_and_room_comes_back(eventually: Eventually) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1000)
        await release.wait()
        writer.write(b"x")

    release = asyncio.Event()
    async with _answering(talk) as url, _client(AnswerLimits(total_body_bytes=2500)) as client:
        asking = [asyncio.create_task(_get(client, url)) for _ in range(2)]
        await eventually(lambda: client.body_bytes == 2000)
        with pytest.raises(Unreachable, match="over 2500 bytes together"):
            await _get(client, url)
        assert client.body_bytes == 2000
        asking[0].cancel()
        await eventually(lambda: client.body_bytes == 1000)
        asking.append(asyncio.create_task(_get(client, url)))
        await eventually(lambda: client.body_bytes == 2000)
        release.set()
        assert [len((await task).body) for task in asking[1:]] == [1001, 1001]
        assert client.body_bytes == 0


@pytest.mark.parametrize(
    "answer", [_CHUNKED + b"5\r\nhello\r\nzz", _CHUNKED + b"5\r\nhello", b"HTTP/1.1 200 OK\r\n\r\nhello"]
)
async def test_nothing_is_held_of_an_answer_that_is_over(answer: bytes) -> None:
    async with _answering(_saying(answer)) as url, _client() as client:
        with suppress(Unreachable):
            await _get(client, url)
        assert client.body_bytes == 0


@pytest.mark.parametrize(
    "codings",
    [
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: identity\r\n",
    ],
)
async def test_an_answer_in_another_coding_than_chunked_is_refused(codings: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + codings + b"\r\n2\r\nhi\r\n0\r\n\r\n"
    async with _answering(_saying(answer)) as url, _client() as client:
        with pytest.raises(Unreachable, match="transfer coding other than 'chunked'"):
            await _get(client, url)


@pytest.mark.parametrize(("sent", "read"), [(b" gold \t ", b"gold"), (b"gold", b"gold"), (b" a \t b ", b"a \t b")])
async def test_blanks_round_a_value_are_no_part_of_it(sent: bytes, read: bytes) -> None:
    answer = _OK.replace(b"\r\n\r\n", b"\r\nce-tier:" + sent + b"\r\n\r\n")
    async with _answering(_saying(answer)) as url, _client() as client:
        assert (await _get(client, url)).header(b"ce-tier") == read


@pytest.mark.parametrize("origins", [1, 3])
async def test_idle_connections_are_closed_though_no_request_comes(origins: int, eventually: Eventually) -> None:
    servers = [HttpServer(lambda _: Response(200), "127.0.0.1", 0) for _ in range(origins)]
    for server in servers:
        await server.start()
    async with _client(idle_s=0.05) as client:
        for _ in range(2):
            urls = [Url.parse(f"http://127.0.0.1:{server.port}/") for server in servers]
            await asyncio.gather(*(_get(client, url) for url in urls * 5))
            await eventually(lambda: all(server.open_connections == 0 for server in servers))
    for server in servers:
        await server.stop()


_WITHOUT_FILES = """
import asyncio, os, resource, socket, sys
from contextlib import suppress
import uvloop
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable

async def main():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    url = Url.parse(f"http://{sys.argv[1]}:{server.sockets[0].getsockname()[1]}/")
    client, held = HttpClient(), []
    socket.getaddrinfo("localhost", 80)  # the resolver fails otherwise once it has read its configuration
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with suppress(OSError):
        while True:
            held.append(os.dup(0))
    try:
        await client.send(b"GET", url, [], timeout_s=5)
    except (Unreachable, SinkUnavailable) as exc:
        print(type(exc).__name__, exc)
    while held:
        os.close(held.pop())
    try:
        await client.send(b"GET", url, [], timeout_s=0.5)
    except Unreachable as exc:
        print(exc)

asyncio.Runner(loop_factory={"uvloop": uvloop.new_event_loop, "asyncio": None}[sys.argv[2]]).run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no.such.host.invalid"])
def test_a_lack_of_open_files_is_no_fault_of_the_other_side(host: str, loop: str) -> None:
    command = [sys.executable, "-c", _WITHOUT_FILES, host, loop]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = ran.stdout.splitlines()
    assert len(lines) == 2, ran
    assert lines[0].startswith(f"SinkUnavailable http://{host}:")
    assert "raise this process's limit of open files" in lines[0]
    assert lines[1].endswith("no answer within 0.5 s") or "cannot resolve 'no.such.host.invalid'" in lines[1]
