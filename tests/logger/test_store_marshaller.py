"""Files that a service of the user's makes: what it is sent, and what becomes of its answers, over real sockets."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.eventing.vocabulary import REQUEST
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.store import store_sink
from wayside.logger.emit.store.marshaller import TRIES
from wayside.logger.settings import Delivery, Store, StoreFormat

HOST = "127.0.0.1"


def answer(body: bytes, status: int = 200, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Service:
    """A marshaller of raw bytes: keeps what it is sent, and writes `answers` in turn, the last one for ever."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers = answers
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.served: set[asyncio.Task[None]] = set()

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.add(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                [length] = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(length)))
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def marshalling(folder: Path, *answers: bytes | None) -> AsyncIterator[tuple[Service, BatchSink]]:
    service = Service(list(answers))
    server = await asyncio.start_server(service.take, HOST, 0)
    sink = sink_to(folder, f"http://{HOST}:{server.sockets[0].getsockname()[1]}/any/path?x=1")
    try:
        yield service, sink
    finally:
        await sink.stop()
        server.close()
        await asyncio.gather(*service.served)


def sink_to(folder: Path, url: str) -> BatchSink:
    return store_sink(Delivery(folder.as_uri(), store=Store("/logs", StoreFormat.CSV, url)))


def event(event_id: str = "a", data: bytes = b"{}") -> CloudEvent:
    return CloudEvent(event_id, "http://s/", REQUEST, data, "2026-08-01T01:02:03.500000000Z")


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_it_is_sent_records_and_its_answer_is_stored(tmp_path: Path) -> None:
    made = answer(b"\x00made", 200, "X-Log-Marshal-Extension: avro")
    async with marshalling(tmp_path, made) as (service, sink):
        await sink.send_batch([event(data=b"\xff")])
        await sink.send_batch([event("b"), event("c")])

    first, second = (json.loads(body) for body in service.bodies)
    assert [base64.b64decode(record["bytes"]) for record in first] == [b"\xff"]
    assert [record["id"] for record in second] == ["b", "c"]
    assert first[0]["occurrenceTime"] == "2026-08-01T01:02:03.5Z"
    assert service.heads[0].startswith(b"POST /any/path?x=1 HTTP/1.1\r\n")
    assert b"content-type: application/json\r\n" in service.heads[0].lower()
    files = stored(tmp_path)
    assert files["logs/a-request.avro"] == b"\x00made"
    assert len(files) == 2


async def test_without_an_extension_it_is_json_and_chunks_are_joined(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    async with marshalling(tmp_path, chunked) as (_, sink):
        await sink.send_batch([event()])

    assert stored(tmp_path) == {"logs/a-request.json": b"{}"}


@pytest.mark.parametrize("status", [404, 408, 429, 502, 503, 504])
async def test_a_service_that_is_away_is_tried_for_ever(tmp_path: Path, status: int) -> None:
    away = answer(b"later", status, "Retry-After: 7")
    async with marshalling(tmp_path, away) as (_, sink):
        for _ in range(TRIES + 1):
            with pytest.raises(SinkUnavailable, match=f"answered {status}: later") as raised:
                await sink.send_batch([event()])
    assert raised.value.retry_after_s == 7
    assert not stored(tmp_path)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(b"fault", 500), "answered 500: fault"),
        (answer(b"", 200, "X-Log-Marshal-Extension: ../../x"), "no extension of a file name"),
        (answer(b"", 200, "X-Log-Marshal-Extension: a/b"), "no extension of a file name"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 99999999\r\n\r\n" + bytes(17 << 20), "over 16777216 bytes"),
        (b"not HTTP at all\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 X\r\nX: " + b"y" * 300_000, "head is over"),
        (None, "closed before the answer was complete"),
    ],
)
async def test_a_batch_that_it_fails_on_holds_up_the_others_for_a_few_tries(
    tmp_path: Path, said: bytes | None, reason: str
) -> None:
    answers: list[bytes | None] = [said] * TRIES
    async with marshalling(tmp_path, *answers, answer(b"ok")) as (_, sink):
        for _ in range(TRIES - 1):
            with pytest.raises(SinkUnavailable, match=reason):
                await sink.send_batch([event()])
        with pytest.raises(EventRefused, match=rf"{reason}.*, {TRIES} times"):
            await sink.send_batch([event()])
        await sink.send_batch([event("b")])

    assert stored(tmp_path) == {"logs/b-request.json": b"ok"}


@pytest.mark.parametrize("status", [400, 401, 413, 422, 301])
async def test_what_it_refuses_is_refused(tmp_path: Path, status: int) -> None:
    async with marshalling(tmp_path, answer(b"no", status, "Location: /x")) as (service, sink):
        with pytest.raises(EventRefused, match=f"answered {status}: no"):
            await sink.send_batch([event()])
    assert len(service.bodies) == 1


async def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    sink = sink_to(tmp_path, f"http://{HOST}:1/marshal")
    for _ in range(TRIES + 1):
        with pytest.raises(SinkUnavailable):
            await sink.send_batch([event()])
    await sink.stop()


async def test_a_caller_that_gives_up_leaves_the_sink_usable(tmp_path: Path) -> None:
    """The limit of its own, 30 s, is not waited for: the caller's is shorter."""
    async with marshalling(tmp_path, b"HTTP/1.1 200 X\r\nContent-Len", answer(b"ok")) as (_, sink):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await sink.send_batch([event()])
        await sink.send_batch([event()])

    assert stored(tmp_path) == {"logs/a-request.json": b"ok"}


async def test_the_agents_own_url_means_the_formats_here(tmp_path: Path) -> None:
    sink = sink_to(tmp_path, "http://localhost:9083/marshal")
    await sink.send_batch([event()])
    await sink.stop()

    assert list(stored(tmp_path)) == ["logs/a-request.csv"]


@pytest.mark.parametrize("url", ["ftp://h/", "h:9083", "http://", "http://u:p@h/"])
def test_a_bad_url_is_told_at_the_start(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError):
        sink_to(tmp_path, url)
