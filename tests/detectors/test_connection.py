"""Connections over real sockets: what is pipelined, refused in its turn, never ends, or is never taken, is bounded."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from wayside.detectors.serving.answering import PLAIN, Answer, Wanted
from wayside.detectors.serving.connection import ClientWatch, ConnectionLimits, watch_of
from wayside.detectors.serving.request_body import RouteLimits
from wayside.detectors.serving.server import AppServer
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import OUTLIER

from .conftest import Served, serve_answering, wait_until
from .test_event_route import BODY, CHUNKED, EVENT, H2C, Teller, connected, converse, posted, status_of

MORE_THAN_SOCKETS_HOLD = 16 << 20
MANY_HEADERS = b"".join(b"x%d: 1\r\n" % number for number in range(300))


def statuses(told: Sequence[tuple[bytes, bytes]]) -> list[int]:
    return [int(head.split(b" ")[1]) for head, _ in told]


async def turn(served: Served) -> None:
    """Let the server read what was sent to it."""
    assert (await served.client.send(b"GET", served.url, [], timeout_s=5)).status == 404


@pytest.mark.parametrize(
    "endless",
    [b"0\r\nx-a: " + b"a" * 2500, b"0\r\n" + b"a: b\r\n" * 400, b"5;" + b"a" * 2500],
    ids=["a trailer", "trailers", "a chunk's extension"],
)
async def test_what_is_neither_head_nor_body_is_bounded(endless: bytes) -> None:
    async with (
        serve_answering(Teller(), connections=ConnectionLimits(head_bytes=4096)) as served,
        connected(served) as (reader, writer),
    ):
        for part in (CHUNKED + b"1\r\n{\r\n", endless, b"a" * 2000):
            writer.write(part)
            await turn(served)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


async def test_a_body_of_many_small_chunks_is_no_endless_head() -> None:
    body = b"[" + b" " * 3000 + b"]"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    parts = [chunks[start : start + 100] for start in range(0, len(chunks), 100)]
    async with serve_answering(Teller(), connections=ConnectionLimits(head_bytes=4096)) as served:
        [(_, answer)] = await converse(served, [CHUNKED, *parts])
    assert answer == body


@pytest.mark.parametrize("offer", [b"", H2C], ids=["plain", "with offers"])
async def test_no_more_wait_on_a_connection_than_its_limit(offer: bytes) -> None:
    request = b"GET / HTTP/1.1\r\n%b\r\n" % offer
    async with (
        serve_answering(Teller(), connections=ConnectionLimits(pipelined=3)) as served,
        connected(served) as (reader, writer),
    ):
        writer.write(request * 40)
        answers = await reader.read()
    assert [line.split(b" ")[1] for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1")] == [
        *[b"404"] * 4,
        b"429",
    ]


@dataclass
class Stepped(Teller):
    """Answers one event for each step."""

    steps: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        answer = await super().answer(event, wanted)
        await self.steps.acquire()
        return answer


async def test_nothing_is_read_while_requests_wait() -> None:
    """What was read beyond the limit would be refused."""
    teller = Stepped()
    async with (
        serve_answering(teller, connections=ConnectionLimits(pipelined=2)) as served,
        connected(served) as (reader, writer),
    ):
        writer.write(posted() * 3)
        await wait_until(lambda: len(teller.asked) == 1)
        writer.write(posted() * 2)
        teller.steps.release()
        await wait_until(lambda: len(teller.asked) == 2)
        await turn(served)
        for _ in range(4):
            teller.steps.release()
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 5:
            answers += await reader.read(1000)
    assert answers.count(b"HTTP/1.1 200") == 5


async def test_a_refusal_is_the_answer_to_the_request_that_is_refused() -> None:
    teller = Teller()
    refused = b"POST / HTTP/1.1\r\n%bcontent-length: 1\r\n\r\n}" % MANY_HEADERS
    async with serve_answering(teller) as served:
        told = await converse(served, [posted(b'{"instances":[[1]]') + refused + posted()], 2)
    assert (statuses(told), told[0][1]) == ([200, 431], b'{"instances":[[1]]')
    assert [event.data for event, _ in teller.asked] == [b'{"instances":[[1]]']


async def test_a_refused_body_is_not_waited_for_by_its_application() -> None:
    teller = Teller()
    async with serve_answering(teller) as served:
        assert await status_of(served, CHUNKED + b"1\r\n{\r\n", b"no length\r\n") == 400
        await wait_until(lambda: served.count("gone") == 1)
    assert not teller.asked


async def test_large_requests_may_be_pipelined() -> None:
    body = b"[" + b" " * 100_000 + b"]"
    sent = posted(body) + posted(body)
    async with serve_answering(Teller()) as served:
        told = await converse(served, [sent[:-100_100], sent[-100_100:]], 2)
    assert [answer for _, answer in told] == [body, body]


async def test_a_head_behind_another_request_is_bounded_as_any_other() -> None:
    async with (
        serve_answering(Teller(), connections=ConnectionLimits(head_bytes=4096)) as served,
        connected(served) as (reader, writer),
    ):
        writer.write(posted() + b"POST / HTTP/1.1\r\nlong: ")
        assert (await reader.read(1000)).startswith(b"HTTP/1.1 200 ")
        writer.write(b"x" * 5000)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


@asynccontextmanager
async def not_reading(port: int) -> AsyncIterator[asyncio.StreamWriter]:
    """A client with small buffers that takes no answer."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    del reader
    try:
        yield writer
    finally:
        writer.transport.abort()


async def test_an_answer_that_is_not_taken_ends_with_its_time() -> None:
    watches: list[ClientWatch] = []

    async def answer_much(scope: Any, receive: Any, send: Any) -> None:
        watches.append(watch_of(scope))
        length = [(b"content-length", b"%d" % MORE_THAN_SOCKETS_HOLD)]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": bytes(MORE_THAN_SOCKETS_HOLD)})

    server = AppServer(answer_much, "127.0.0.1", 0, limits=ConnectionLimits(request_s=0.2))
    await server.start()
    async with not_reading(server.port) as writer:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await wait_until(lambda: watches and watches[0].is_gone)
    await server.stop()


class Loud(Teller):
    """Replies with more than sockets hold."""

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        self.asked.append((event, wanted))
        size = MORE_THAN_SOCKETS_HOLD if event.id == "loud" else 2
        return Answer("scored", CloudEvent(f"verdict-{event.id}", "/d", OUTLIER, bytes(size), event.time))


async def test_answers_that_are_not_taken_count_as_held() -> None:
    loud = posted().replace(b"ce-id: 1\r\n", b"ce-id: loud\r\n")
    async with serve_answering(Loud(), RouteLimits(held_bytes=1 << 20)) as served:
        async with not_reading(served.server.port) as writer:
            writer.write(loud)
            await wait_until(lambda: served.count("scored") == 1)
            assert await overloaded(served)
        while await overloaded(served):  # until the server has seen that the client is gone
            pass


async def overloaded(served: Served) -> bool:
    status = (await served.post(BODY, EVENT)).status
    assert status in (200, 429)
    return status == 429
