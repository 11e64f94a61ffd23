"""Hostile and odd messages, whole and byte by byte: who sees what, and that nothing of one is ever seen in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11
import pytest
from logger_stage import HOST, Stage, staged_raw

GOOD = b"POST /good HTTP/1.1\r\nhost: m\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood"
START = b"POST /p HTTP/1.1\r\nhost: m\r\n"
CHUNKED = START + b"transfer-encoding: chunked\r\n\r\n"
END = b"connection: close\r\n"


@dataclass
class Model:
    """Reads with a strict parser of another make; answers each whole request with its body."""

    seen: list[tuple[bytes, bytes]] = field(default_factory=list)  # target, body
    heads: list[dict[bytes, bytes]] = field(default_factory=list)
    raw: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        judge, body = h11.Connection(h11.SERVER), b""
        while True:
            event = judge.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                self.raw += data
                judge.receive_data(data)
            elif isinstance(event, h11.Request):
                request, body = event, b""
                self.heads.append(dict(event.headers))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.seen.append((request.target, body))
                bodiless = request.method == b"HEAD"
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + (b"" if bodiless else body))
                judge.send(h11.Response(status_code=200, headers=[("content-length", str(len(body)))]))
                if body and not bodiless:
                    judge.send(h11.Data(data=body))
                judge.send(h11.EndOfMessage())
                if judge.our_state is not h11.DONE or judge.their_state is not h11.DONE:
                    return
                judge.start_next_cycle()
            else:
                return


@asynccontextmanager
async def before_model() -> AsyncIterator[tuple[Stage, Model]]:
    model = Model()
    async with staged_raw(model.serve) as stage:
        yield stage, model


async def say(stage: Stage, message: bytes, *, by_byte: bool = False, ends: bool = False) -> bytes:
    """What came back until the close."""
    reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
    with suppress(ConnectionError):
        for at in range(0, len(message), 1 if by_byte else len(message)):
            writer.write(message[at : at + 1] if by_byte else message)
            await asyncio.sleep(0)
        if ends:
            writer.write_eof()
    said = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while more := await reader.read(65536):
                said += more
    writer.close()
    return said


async def check(message: bytes, status: bytes, seen: list[tuple[bytes, bytes]]) -> None:
    async with before_model() as (stage, model):
        for by_byte in (False, True):
            model.seen.clear()
            said = await say(stage, message, by_byte=by_byte)
            assert said.startswith(b"HTTP/1.1 " + status), said
            assert model.seen == seen
            assert (await say(stage, GOOD)).endswith(b"\r\n\r\ngood")
            assert model.seen == [*seen, (b"/good", b"good")]


REFUSED = {
    "both lengths": (START + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nSECRET", b"400"),
    "both, the other way": (START + b"transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\nSECRET", b"400"),
    "equal lengths": (START + b"content-length: 6\r\ncontent-length: 6\r\n\r\nSECRET", b"400"),
    "a list of lengths": (START + b"content-length: 6, 6\r\n\r\nSECRET", b"400"),
    "a negative length": (START + b"content-length: -6\r\n\r\nSECRET", b"400"),
    "a hex length": (START + b"content-length: 0x6\r\n\r\nSECRET", b"400"),
    "no length": (START + b"content-length:\r\n\r\nSECRET", b"400"),
    "a length that overflows": (START + b"content-length: 18446744073709551622\r\n\r\nSECRET", b"400"),
    "obs-fold": (START + b"x: a\r\n b\r\n\r\n", b"400"),
    "folded length": (START + b"content-length:\r\n 6\r\n\r\nSECRET", b"400"),
    "a fold before any field": (b"POST / HTTP/1.1\r\n host: m\r\n\r\n", b"400"),
    "a blank before the colon": (START + b"content-length : 6\r\n\r\nSECRET", b"400"),
    "a blank in a name": (START + b"content length: 6\r\n\r\nSECRET", b"400"),
    "no name": (START + b": x\r\n\r\n", b"400"),
    "no colon": (START + b"content-length\r\n\r\n", b"400"),
    "NUL in a value": (START + b"x: a\0b\r\n\r\n", b"400"),
    "NUL in a name": (START + b"x\0: ab\r\n\r\n", b"400"),
    "a control byte in a value": (START + b"x: a\x01b\r\n\r\n", b"400"),
    "DEL in a value": (START + b"x: a\x7fb\r\n\r\n", b"400"),
    "a lone CR": (START + b"x: a\rcontent-length: 6\r\n\r\nSECRET", b"400"),
    "a lone LF": (START + b"x: a\ncontent-length: 6\r\n\r\nSECRET", b"400"),
    "lines that end in LF": (b"POST / HTTP/1.1\nhost: m\n\n", b"400"),
    "two codings": (START + b"transfer-encoding: gzip, chunked\r\n\r\n", b"501"),
    "chunked twice": (START + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", b"400"),
    "chunked in two fields": (START + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n", b"400"),
    "an unknown coding": (START + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", b"501"),
    "a coding with a vertical tab": (START + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", b"400"),
    "no coding": (START + b"transfer-encoding:\r\n\r\n0\r\n\r\n", b"400"),
    "identity": (START + b"transfer-encoding: identity\r\n\r\nSECRET", b"501"),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    "two Hosts": (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", b"400"),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nhost: m\r\n\r\n", b"505"),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nhost: m\r\n\r\n", b"505"),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nhost: m\r\n\r\n", b"400"),
    "no version": (b"GET /\r\n\r\n", b"505"),
    "a blank in the target": (b"GET /a b HTTP/1.1\r\nhost: m\r\n\r\n", b"400"),
    "a control byte in the target": (b"GET /\x01 HTTP/1.1\r\nhost: m\r\n\r\n", b"400"),
    "a target of another scheme": (b"GET ftp://a/b HTTP/1.1\r\nhost: m\r\n\r\n", b"400"),
    "a target without a host": (b"GET http:///b HTTP/1.1\r\nhost: m\r\n\r\n", b"400"),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", b"405"),
    "a method in lower case": (b"get / HTTP/1.1\r\nhost: m\r\n\r\n", b"400"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    "a chunk without a size": (CHUNKED + b"\r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk size of a sign": (CHUNKED + b"-6\r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk size with 0x": (CHUNKED + b"0x6\r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk size and a blank": (CHUNKED + b"6 \r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk size that overflows": (CHUNKED + b"10000000000000006\r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk longer than its size": (CHUNKED + b"3\r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk whose line ends in LF": (CHUNKED + b"6\nSECRET\r\n0\r\n\r\n", b"400"),
    "a chunk extension with LF": (CHUNKED + b"6;a\n0\r\nSECRET\r\n0\r\n\r\n", b"400"),
    "a quoted chunk extension with LF": (CHUNKED + b'6;a="\n"\r\nSECRET\r\n0\r\n\r\n', b"400"),
    "a length behind the body": (CHUNKED + b"6\r\nSECRET\r\n0\r\ncontent-length: 6\r\n\r\n", b"400"),
    "a folded trailer": (CHUNKED + b"6\r\nSECRET\r\n0\r\nx: a\r\n b\r\n\r\n", b"400"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_never_reaches_the_model_as_a_request(name: str) -> None:
    message, status = REFUSED[name]
    await check(message, status, [])


EXTRA = START.replace(b"/p", b"/late") + b"content-length: 6\r\n\r\nSECRET"
TAKEN = {
    "a length with zeros before it": (START + END + b"content-length: 006\r\n\r\nmine-1", [(b"/p", b"mine-1")]),
    "a length and a blank": (START + END + b"content-length: 6 \r\n\r\nmine-1", [(b"/p", b"mine-1")]),
    "a chunk size with zeros": (
        CHUNKED.replace(b"\r\n\r\n", b"\r\n" + END + b"\r\n") + b"0006\r\nmine-1\r\n00\r\n\r\n",
        [(b"/p", b"mine-1")],
    ),
    "chunk extensions": (
        CHUNKED.replace(b"\r\n\r\n", b"\r\n" + END + b"\r\n") + b'6;a;b=c;d="e f"\r\nmine-1\r\n0;x\r\n\r\n',
        [(b"/p", b"mine-1")],
    ),
    "Connection names more": (
        START + b"connection: close, x-foo\r\nx-foo: 1\r\ncontent-length: 6\r\n\r\nmine-1",
        [(b"/p", b"mine-1")],
    ),
    "an upgrade with a body": (
        START + b"upgrade: websocket\r\nconnection: upgrade, close\r\ncontent-length: 6\r\n\r\nmine-1",
        [(b"/p", b"mine-1")],
    ),
    "HTTP/1.0 without a Host": (b"POST /p HTTP/1.0\r\ncontent-length: 6\r\n\r\nmine-1", [(b"/p", b"mine-1")]),
    "a target with a host": (
        b"POST http://user@other/p?q=1 HTTP/1.1\r\nhost: m\r\nconnection: close\r\ncontent-length: 6\r\n\r\nmine-1",
        [(b"/p?q=1", b"mine-1")],
    ),
    "a target of a host alone": (b"GET HTTP://other HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n", [(b"/", b"")]),
    "a target of a host and a query": (b"GET http://other?q HTTP/1.1\r\nhost: m\r\n" + END + b"\r\n", [(b"/?q", b"")]),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nhost: m\r\n" + END + b"\r\n", [(b"*", b"")]),
    "two slashes": (b"GET //other/x HTTP/1.1\r\nhost: m\r\n" + END + b"\r\n", [(b"//other/x", b"")]),
    "empty lines before a request": (b"\r\n\r\n" + START + END + b"content-length: 0\r\n\r\n", [(b"/p", b"")]),
    "a length under another name": (
        START + END + b"content_length: 99\r\ncontent-length: 6\r\n\r\nmine-1",
        [(b"/p", b"mine-1")],
    ),
    "bytes over 0x7f in a value": (START + END + b"x: \xff\xfe\r\ncontent-length: 0\r\n\r\n", [(b"/p", b"")]),
    "HEAD": (b"HEAD /p HTTP/1.1\r\nhost: m\r\n" + END + b"\r\n", [(b"/p", b"")]),
    "a length for a GET": (
        b"GET /p HTTP/1.1\r\nhost: m\r\ncontent-length: 6\r\nconnection: close\r\n\r\nmine-1",
        [(b"/p", b"mine-1")],
    ),
    "pipelined": (
        (START + b"content-length: 6\r\n\r\nmine-1") + (START + END + b"content-length: 6\r\n\r\nmine-2"),
        [(b"/p", b"mine-1"), (b"/p", b"mine-2")],
    ),
}


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_odd_but_plain_reaches_the_model_as_it_was_meant(name: str) -> None:
    message, seen = TAKEN[name]
    await check(message, b"200", seen)


async def test_what_follows_a_last_request_is_no_request() -> None:
    async with before_model() as (stage, model):
        said = await say(stage, START + END + b"content-length: 6\r\n\r\nmine-1" + EXTRA)
        assert said.endswith(b"\r\n\r\nmine-1")
        assert (await say(stage, GOOD)).endswith(b"good")
        assert model.seen == [(b"/p", b"mine-1"), (b"/good", b"good")]


async def test_forbidden_trailers_stay_behind_and_others_go_on() -> None:
    trailers = b"host: evil\r\nauthorization: x\r\nx-forwarded-for: 6.6.6.6\r\nx-sum: 1\r\n"
    message = CHUNKED.replace(b"\r\n\r\n", b"\r\n" + END + b"\r\n") + b"6\r\nmine-1\r\n0\r\n" + trailers + b"\r\n"
    async with before_model() as (stage, model):
        for by_byte in (False, True):
            assert (await say(stage, message, by_byte=by_byte)).endswith(b"mine-1")
        assert model.raw.count(b"0\r\nx-sum: 1\r\n\r\n") == 2
        assert b"evil" not in model.raw
        assert b"6.6.6.6" not in model.raw


async def test_a_target_with_a_host_names_the_host() -> None:
    async with before_model() as (stage, model):
        await say(stage, TAKEN["a target with a host"][0])
        await say(stage, TAKEN["HTTP/1.0 without a Host"][0])
        assert model.heads[0][b"host"] == b"other"
        assert model.heads[1][b"host"].startswith(HOST.encode() + b":")


async def test_a_broken_body_behind_good_requests_takes_no_answer_from_them() -> None:
    good = START + b"content-length: 6\r\n\r\nmine-1"
    async with before_model() as (stage, model):
        for by_byte in (False, True):
            model.seen.clear()
            said = await say(stage, good + good + CHUNKED + b"Z\r\nSECRET", by_byte=by_byte)
            assert said.count(b"HTTP/1.1 200 OK") == 2
            assert said.count(b"HTTP/1.1 400 ") == 1
            assert model.seen == [(b"/p", b"mine-1")] * 2


async def test_a_broken_body_makes_no_event() -> None:
    async with before_model() as (stage, _):
        await say(stage, CHUNKED + b"6\r\nSECRET\r\nZ")
        await say(stage, GOOD)
        assert [event.data for event in await stage.sink.wait_for(2)] == [b"good"] * 2


UNENDING = {
    "a field": START + b"x: " + b"y" * (2 << 20),
    "many fields": START + b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 70_000,
    "a target": b"GET /" + b"y" * (2 << 20),
    "a chunk extension": CHUNKED + b"6;" + b"y" * (2 << 20),
    "trailers": CHUNKED + b"6\r\nmine-1\r\n0\r\n" + b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 70_000,
    "a trailer": CHUNKED + b"6\r\nmine-1\r\n0\r\nx: " + b"y" * (2 << 20),
}


@pytest.mark.parametrize("name", UNENDING)
async def test_what_has_no_end_is_cut_off(name: str) -> None:
    async with before_model() as (stage, model):
        assert (await say(stage, UNENDING[name])).startswith(b"HTTP/1.1 431 ")
        assert model.seen == []
        assert (await say(stage, GOOD)).endswith(b"\r\n\r\ngood")


HALVES = [
    START[:9],
    START,
    START + b"content-length: 6\r\n\r\nmin",
    CHUNKED + b"6\r\nmin",
    CHUNKED + b"6\r\nmine-1\r\n0\r\n",
]


@pytest.mark.parametrize("message", HALVES)
async def test_a_client_that_ends_in_mid_request_leaves_nothing_behind(message: bytes) -> None:
    async with before_model() as (stage, model):
        for by_byte in (False, True):
            assert await say(stage, message, by_byte=by_byte, ends=True) == b""
        assert (await say(stage, GOOD)).endswith(b"\r\n\r\ngood")
        assert model.seen == [(b"/good", b"good")]
        assert [event.data for event in await stage.sink.wait_for(2)] == [b"good"] * 2
