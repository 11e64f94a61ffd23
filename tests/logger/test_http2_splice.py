"""The splice over real sockets: bytes as they are, back-pressure, half-closed sides, the end, and hostile clients."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from grpc_stage import (
    ANSWER,
    CALL,
    HOST,
    PREFACE,
    SETTINGS,
    TRAILERS,
    Headers,
    SpliceStage,
    data,
    frame,
    message,
    spliced,
)

from wayside.logger.http2.splice import is_preface
from wayside.logger.settings import Upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Serve = Callable[[Reader, Writer], Awaitable[None]]
NOTICE = frame(7, 0, 0, b"\x7f\xff\xff\xff" + bytes(4))


def last_word(stream_id: int) -> bytes:
    return frame(7, 0, 0, stream_id.to_bytes(4) + bytes(4))


@dataclass
class Raw:
    """A client of bytes, a splice, and what the model server was sent."""

    stage: SpliceStage
    reader: Reader
    writer: Writer

    async def read_all(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()


@asynccontextmanager
async def raw(serve: Serve) -> AsyncIterator[Raw]:
    async def handle(reader: Reader, writer: Writer) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    async with spliced(server.sockets[0].getsockname()[1]) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        try:
            yield Raw(stage, reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            server.close()


async def echo(reader: Reader, writer: Writer) -> None:
    while got := await reader.read(65_536):
        writer.write(got)
        await writer.drain()


@pytest.mark.parametrize(
    ("first", "known"),
    [
        (b"", None),
        (b"P", None),
        (PREFACE[:-1], None),
        (PREFACE, True),
        (PREFACE + SETTINGS, True),
        (b"POST / HTTP/1.1\r\n", False),
        (PREFACE[:18] + b"XX", False),
        (b"GET", False),
    ],
)
def test_a_preface_is_known_as_soon_as_it_can_be(first: bytes, known: bool | None) -> None:
    assert is_preface(first) is known


async def test_bytes_pass_as_they_are_both_ways_and_the_ends_too() -> None:
    sent = PREFACE + SETTINGS + b"".join(frame(0xEE, n % 256, n, bytes([n % 256]) * n) for n in range(1, 2_000))
    async with raw(echo) as talk:
        talk.writer.write(sent)
        talk.writer.write_eof()
        assert await talk.read_all() == sent
        await talk.stage.wait_closed()


async def test_bytes_pass_even_where_they_are_no_http2() -> None:
    """The model server decides what becomes of them."""
    sent = PREFACE + frame(9, 4, 1) + b"\xff" * 200_000
    async with raw(echo) as talk:
        talk.writer.write(sent)
        talk.writer.write_eof()
        assert await talk.read_all() == sent
        assert talk.stage.splices.counts.unreadable == 1


async def test_a_side_that_has_ended_still_hears_the_other() -> None:
    async def answer_late(reader: Reader, writer: Writer) -> None:
        assert await reader.read() == PREFACE
        writer.write(SETTINGS)

    async with raw(answer_late) as talk:
        talk.writer.write(PREFACE)
        talk.writer.write_eof()
        assert await talk.read_all() == SETTINGS


async def test_a_server_that_has_ended_still_hears_the_client() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def end_early(reader: Reader, writer: Writer) -> None:
        writer.write_eof()
        heard.set_result(await reader.read())

    async with raw(end_early) as talk:
        talk.writer.write(PREFACE)
        assert await talk.read_all() == b""
        talk.writer.write(SETTINGS)
        talk.writer.write_eof()
        assert await asyncio.wait_for(heard, 10) == PREFACE + SETTINGS
        await talk.stage.wait_closed()


@pytest.mark.parametrize("reads", ["client", "server"])
async def test_a_side_that_does_not_read_holds_the_other_back(reads: str) -> None:
    """The one that writes is stopped long before all of it lies in memory; once it is read, all of it comes."""
    total, go = 64 << 20, asyncio.Event()
    written = 0

    async def write_much(writer: Writer) -> None:
        nonlocal written
        for _ in range(total >> 16):
            writer.write(frame(0xEE, 0, 1, bytes((1 << 16) - 9)))
            await writer.drain()
            written += 1 << 16
        writer.write_eof()

    async def read_much(reader: Reader) -> int:
        await go.wait()
        size = 0
        while got := await reader.read(1 << 20):
            size += len(got)
        return size

    sizes = asyncio.get_running_loop().create_future()

    async def serve(reader: Reader, writer: Writer) -> None:
        await reader.readexactly(len(PREFACE))
        if reads == "client":
            await write_much(writer)
            await reader.read()
        else:
            sizes.set_result(await read_much(reader))

    async with raw(serve) as talk:
        talk.writer.write(PREFACE)
        reading = asyncio.create_task(read_much(talk.reader)) if reads == "client" else sizes
        writing = None if reads == "client" else asyncio.create_task(write_much(talk.writer))
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.1)
        assert 0 < written < total // 2
        go.set()
        assert await asyncio.wait_for(reading, 20) == total
        if writing is not None:
            await writing


async def test_a_model_server_that_dies_in_mid_answer_ends_the_connection() -> None:
    answers = Headers()

    async def die(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(message(b"asked"))
        writer.write(SETTINGS + answers(1, ANSWER) + data(1, message(b"told and more")[:10]))
        await writer.drain()
        writer.transport.abort()

    async with raw(die) as talk:
        talk.writer.write(PREFACE + SETTINGS + Headers()(1, CALL) + data(1, message(b"asked"), end=True))
        assert (await talk.read_all()).endswith(message(b"told and more")[:10])
        asked, answered = await talk.stage.kept.wait_for(2)
        assert (asked.data, answered.data) == (b"asked", b"told ")
        assert answered.extensions["truncated"] == "true"


async def test_a_client_that_dies_ends_the_model_servers_connection() -> None:
    ended = asyncio.Event()

    async def wait(reader: Reader, writer: Writer) -> None:
        with suppress(ConnectionError):
            await reader.read()
        ended.set()

    async with raw(wait) as talk:
        talk.writer.write(PREFACE + SETTINGS + Headers()(1, CALL))
        await talk.writer.drain()
        while not talk.stage.splices.peers or not talk.stage.splice.busy:
            await asyncio.sleep(0.002)
        talk.writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 10)
        await talk.stage.wait_closed()


@pytest.mark.parametrize("at", [Upstream(HOST, 1), Upstream("no such host", 80), Upstream("a" * 70, 80)])
async def test_a_client_of_no_model_server_hears_the_end_and_nothing_else(at: Upstream) -> None:
    async with raw(echo) as talk:
        talk.stage.splices.upstream = at
        talk.writer.write(PREFACE + SETTINGS + Headers()(1, CALL))
        assert await talk.read_all() == b""
        assert talk.stage.splices.counts.unserved == 1


async def test_a_client_waits_no_longer_for_a_connection_than_is_set() -> None:
    with socket.socket() as deaf, socket.socket() as first:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        first.connect(deaf.getsockname())  # the one that waits to be accepted; Linux answers no second
        async with raw(echo) as talk:
            talk.stage.splices.upstream = Upstream(*deaf.getsockname(), connect_timeout_s=0.1)
            talk.writer.write(PREFACE)
            assert await talk.read_all() == b""


# the end of a logger


async def until_busy(talk: Raw) -> None:
    async with asyncio.timeout(10):
        while not talk.stage.splices.peers or not talk.stage.splice.busy:
            await asyncio.sleep(0.002)


async def test_a_drain_of_an_idle_connection_says_both_words_and_ends_it() -> None:
    async def greet(reader: Reader, writer: Writer) -> None:
        writer.write(SETTINGS)
        await reader.read()

    async with raw(greet) as talk:
        talk.writer.write(PREFACE)
        assert await talk.reader.readexactly(len(SETTINGS)) == SETTINGS
        assert not talk.stage.splice.busy
        talk.stage.splice.drain()
        assert await talk.read_all() == NOTICE + last_word(0)
        assert talk.stage.splice.busy  # until the client has closed its side too


async def test_a_drain_serves_what_was_asked_before_and_meanwhile() -> None:
    """The first word refuses nothing, the last names the last stream that was served."""
    go = asyncio.Event()
    answers = Headers()

    async def serve(reader: Reader, writer: Writer) -> None:
        writer.write(SETTINGS)
        for stream_id in (1, 3):
            await reader.readuntil(message(b"asked"))
            await go.wait()
            writer.write(answers(stream_id, ANSWER) + data(stream_id, message(b"told")))
            writer.write(answers(stream_id, TRAILERS, end=True))
        await reader.read()

    async with raw(serve) as talk:
        asks = Headers()
        talk.writer.write(PREFACE + SETTINGS + asks(1, CALL) + data(1, message(b"asked"), end=True))
        assert await talk.reader.readexactly(len(SETTINGS)) == SETTINGS
        await until_busy(talk)
        talk.stage.splice.drain()
        talk.stage.splice.drain()
        assert await talk.reader.readexactly(len(NOTICE)) == NOTICE
        talk.writer.write(asks(3, CALL) + data(3, message(b"asked"), end=True))
        go.set()
        rest = await talk.read_all()
        assert (rest.count(message(b"told")), rest.count(NOTICE)) == (2, 0)
        assert rest.endswith(last_word(3))
        assert len(await talk.stage.kept.wait_for(4)) == 4


async def test_the_first_word_stands_between_two_frames_of_a_stream_that_never_pauses() -> None:
    answers, body = Headers(), bytes(range(256)) * 40
    sent = SETTINGS + answers(1, ANSWER) + b"".join(data(1, body) for _ in range(10)) + answers(1, TRAILERS, end=True)
    go = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(message(b"asked"))
        writer.write(sent[:-20_003])
        await go.wait()
        writer.write(sent[-20_003:])
        await reader.read()

    async with raw(serve) as talk:
        talk.writer.write(PREFACE + SETTINGS + Headers()(1, CALL) + data(1, message(b"asked"), end=True))
        got = await talk.reader.readexactly(len(sent) - 20_003)
        talk.stage.splice.drain()
        go.set()
        got += await talk.read_all()
        at = got.index(NOTICE)
        assert got.replace(NOTICE, b"").replace(last_word(1), b"") == sent
        assert (at - len(sent.split(data(1, body))[0])) % len(data(1, body)) == 0


async def test_a_drain_before_the_server_spoke_says_nothing_and_ends_the_connection() -> None:
    async def say_nothing(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with raw(say_nothing) as talk:
        talk.writer.write(PREFACE)
        async with asyncio.timeout(10):
            while not talk.stage.splices.peers:
                await asyncio.sleep(0.002)
        talk.stage.splice.drain()
        assert await talk.read_all() == b""


async def test_a_drain_of_what_cannot_be_followed_waits_until_it_is_quiet() -> None:
    async with raw(echo) as talk:
        talk.writer.write(PREFACE + frame(9, 4, 1))
        got = await talk.reader.readexactly(len(PREFACE) + 9)
        talk.stage.splice.drain()
        assert talk.stage.splice.busy
        talk.writer.write(b"more")
        assert got + await talk.read_all() == PREFACE + frame(9, 4, 1) + b"more"


async def test_a_connection_that_is_half_closed_and_still_is_given_up() -> None:
    async def hang(reader: Reader, writer: Writer) -> None:
        await reader.read()
        writer.write(b"ended")
        await talk.stage.wait_closed()

    async with raw(hang) as talk:
        talk.writer.write(PREFACE)
        talk.writer.write_eof()
        assert await talk.reader.readexactly(5) == b"ended"
        splice = talk.stage.splice
        splice.sweep(splice.last_bytes_s + 119)
        assert talk.stage.splices.peers
        splice.sweep(splice.last_bytes_s + 121)
        await talk.stage.wait_closed()


# hostile clients

HOSTILE = {
    "a frame of 16 MB": ((1 << 24) - 1).to_bytes(3) + bytes((0, 0)) + (1).to_bytes(4) + bytes(300_000),
    "a header bomb": Headers()(1, [("x-bomb", "a" * 3_000)]) + frame(1, 4, 3, b"\xbe" * 16_000),
    "continuations without end": frame(1, 0, 1, b"\x82") + frame(9, 0, 1) * 5_000,
    "continuations that say something": frame(1, 0, 1, b"\x82") + frame(9, 0, 1, bytes(16_000)) * 20,
    "settings without end": SETTINGS * 5_000,
    "rapid resets": b"".join(frame(1, 5, n, b"\x83\x86\x84") + frame(3, 0, n, bytes(4)) for n in range(1, 10_000, 2)),
    "streams without end": b"".join(frame(1, 4, n, b"\x83\x86\x84") for n in range(1, 40_000, 2)),
    "even streams and stream 0": frame(1, 5, 2, b"\x83\x86\x84") + frame(1, 5, 0, b"\x83") + data(0, b"x"),
    "a promise by a client": frame(5, 4, 1, (2).to_bytes(4) + b"\x82"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_a_hostile_client_sends_is_the_model_servers_to_judge(name: str) -> None:
    sent = PREFACE + SETTINGS + HOSTILE[name]
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: Reader, writer: Writer) -> None:
        heard.set_result(await reader.read())

    async with raw(listen) as talk:
        talk.writer.write(sent)
        talk.writer.write_eof()
        assert await asyncio.wait_for(heard, 10) == sent
        await talk.read_all()
        await talk.stage.wait_closed()
        assert talk.stage.recorder.budget.used_bytes == 0
        counts = talk.stage.recorder.counts
        assert sum(counts.captured.values()) == len(talk.stage.kept.events) + sum(counts.dropped.values())
