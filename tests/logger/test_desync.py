"""Nothing one client sends can reach another's answer, and nothing behind a message's end is taken for a part of it."""

import asyncio
import socket
import struct

import pytest
from logger_stage import HOST, Stage, staged, staged_raw

from wayside.eventing.http.message import Request, Response

POST = b"POST /p HTTP/1.1\r\nhost: m\r\ncontent-length: 5\r\n\r\nhello"
UPGRADE = b"GET /ws HTTP/1.1\r\nhost: m\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_what_follows_a_request_to_switch_protocols_waits_for_the_switch() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)  # a server that does not switch, and would answer a smuggled request next
        seen.append(await reader.read())

    async with staged_raw(serve) as stage:
        said = await stage.talk(UPGRADE + b"GET /admin HTTP/1.1\r\nhost: m\r\n\r\n")
        assert said.count(b"HTTP/1.1 200") == 1
    assert b"/ws" in seen[0]
    assert b"/admin" not in b"".join(seen)


async def test_early_bytes_of_a_tunnel_arrive_after_the_switch() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        writer.write(b"got " + await reader.readexactly(5))

    async with staged_raw(serve) as stage:
        assert (await stage.talk(UPGRADE + b"early")).endswith(b"\r\n\r\ngot early")
        assert stage.sink.events == []
        assert await stage.metric('wayside_logger_responses_total{code="101"}') == 1


async def test_a_switch_nobody_asked_for_is_a_502() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nmine")

    async with staged_raw(serve) as stage:
        said = await stage.talk(POST, until=b"\n")
        assert said.startswith(b"HTTP/1.1 502")
        assert b"mine" not in said


async def test_an_offer_of_http_2_is_passed_over_and_its_request_is_captured(stage: Stage) -> None:
    """Java's client offers h2c on its first request; the answer is HTTP/1.1, and the connection goes on."""
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n"
    offering = POST.replace(b"host: m\r\n", b"host: m\r\n" + offer)
    said = await stage.talk(offering + POST.replace(b"hello", b"again"), until=b"again")
    assert said.count(b"HTTP/1.1 200") == 2
    await stage.sink.wait_for(4)
    assert [event.data for event in stage.sink.of("request")] == [b"hello", b"again"]


@pytest.mark.parametrize(
    "named", [b"content-length", b"Content-Length, host", b"x-forwarded-for, close , content-length"]
)
async def test_a_body_keeps_its_length_whoever_names_it_in_connection(named: bytes) -> None:
    seen: list[Request] = []

    async def look(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    smuggled = b"GET /admin HTTP/1.1\r\nhost: m\r\n\r\n"
    start = b"POST /p HTTP/1.1\r\nhost: m\r\nx-forwarded-for: 10.0.0.1\r\nconnection: " + named
    async with staged(look) as stage:
        message = start + b"\r\ncontent-length: %d\r\n\r\n%s" % (len(smuggled), smuggled)
        await stage.talk(message, POST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        await stage.sink.wait_for(2)
    assert seen[0].body == smuggled
    assert seen[0].header(b"host") == b"m"
    assert seen[0].header(b"x-forwarded-for") == b"10.0.0.1, 127.0.0.1"
    assert all(request.target == b"/p" for request in seen)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_without_a_body_is_over_whatever_length_it_names(status: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 5\r\n\r\n")
        await reader.read()

    async with staged_raw(serve) as stage:
        get = b"GET / HTTP/1.1\r\nhost: m\r\n\r\n"
        said = await stage.talk(get + get.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert said.count(b"HTTP/1.1 " + status) == 2


async def test_trailers_pass_behind_the_body_and_never_among_the_headers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readuntil(b"0\r\nx-sum: 1\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        writer.write(b"2\r\nok\r\n0\r\nx-sum: 2\r\nset-cookie: a=b\r\n\r\n")

    seen: list[bytes] = []
    asked = (
        b"POST /p HTTP/1.1\r\nhost: m\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
        b"1\r\nx\r\n0\r\nx-sum: 1\r\nhost: elsewhere\r\nauthorization: b\r\n\r\n"
    )
    async with staged_raw(serve) as stage:
        said = await stage.talk(asked)
        assert said.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n")
        await stage.sink.wait_for(2)
    assert b"elsewhere" not in b"".join(seen)
    assert b"x-sum: 1" not in seen[0]


async def test_trailers_are_no_headers() -> None:
    seen: list[Request] = []

    async def look(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    trailed = (
        b"POST /p HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nx-tenant: forged\r\nce-id: forged\r\n\r\n"
    )
    async with staged(look) as stage:
        await stage.talk(POST + trailed + POST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        await stage.sink.wait_for(6)
        assert all("clientceid" not in event.extensions for event in stage.sink.events)
        assert {event.extensions["metadata"] for event in stage.sink.events} == {"{}"}
    assert len(seen) == 3
    assert all(request.header(b"x-tenant") is None for request in seen)


@pytest.mark.parametrize("more", [OK.replace(b"ok", b"no"), b"garbage\r\n\r\n"])
async def test_what_follows_an_answer_is_nobodys(more: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(OK + more)
        await reader.read()

    async with staged_raw(serve) as stage:
        last = POST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        said = await stage.talk(POST * 2 + last)
        assert said.count(b"\r\n\r\nok") == 3
        assert b"no" not in said
        assert b"garbage" not in said


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n", b"405"),
        (b"POST / HTTP/1.1\r\nhost: m\r\ntransfer-encoding: gzip, chunked\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked, identity\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\r\ncontent-length: +1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\r\ncontent-length : 1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\nx: y\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\r\nx: a\rb\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: m\r\nx: a\0b\r\n\r\n", b"400"),
    ],
)
async def test_ambiguous_requests_are_refused(stage: Stage, message: bytes, status: bytes) -> None:
    assert (await stage.talk(message)).startswith(b"HTTP/1.1 " + status)
    assert stage.sink.events == []


async def test_a_bad_request_behind_good_ones_takes_no_answer_from_them(stage: Stage) -> None:
    said = await stage.talk(POST + POST + b"GARBAGE\r\n\r\n")
    assert said.count(b"HTTP/1.1 200") == 2
    assert said.count(b"HTTP/1.1 400") == 1


async def test_an_answer_before_the_upload_ends_reaches_the_client() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")

    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: m\r\ncontent-length: 8000000\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"big"), 5)).startswith(b"HTTP/1.1 413")
        writer.write(b"x" * 1_000_000)
        await writer.drain()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_client_of_http_1_0_is_sent_no_interim_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK)

    async with staged_raw(serve) as stage:
        assert (await stage.talk(POST.replace(b"HTTP/1.1", b"HTTP/1.0"))).startswith(b"HTTP/1.1 200")


async def test_a_model_whose_head_has_no_end_is_a_502() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"x: %s\r\n" % (b"y" * 1000) * 1000 + b"\r\n")
        await writer.drain()
        await reader.read()

    async with staged_raw(serve) as stage:
        assert (await stage.talk(POST, until=b"\n")).startswith(b"HTTP/1.1 502")


async def test_a_body_told_by_the_close_is_whole_only_if_the_close_is_clean() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\npart")
        await passed_on.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    passed_on = asyncio.Event()
    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(POST)
        await asyncio.wait_for(reader.readuntil(b"part"), 5)
        passed_on.set()
        assert not (await asyncio.wait_for(reader.read(), 5)).endswith(b"0\r\n\r\n")
        await stage.sink.wait_for(2)
        (cut,) = stage.sink.of("response")
        assert (cut.data, cut.extensions["truncated"]) == (b"part", "true")
        writer.close()


async def test_a_client_that_asks_on_without_reading_holds_the_model_back() -> None:
    held_back = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(1000):
            try:
                await asyncio.wait_for(reader.readuntil(b"hello"), 1)
            except TimeoutError:
                return held_back.set()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000)

    async with staged_raw(serve) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port, limit=1 << 12)
        writer.write(POST * 1000)
        await asyncio.wait_for(held_back.wait(), 20)
        assert reader.at_eof() is False
        writer.transport.abort()
