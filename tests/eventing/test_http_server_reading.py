"""How an HTTP server reads what clients seldom send: offers of another protocol, codings, parts without an end."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
from http_stage import PATIENCE_S, Client, connected, echo, serving, talking
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import ServerLimits

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
_OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"  # Java's client's
)
_CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_MESSAGES = {
    b"GET /g ": b"GET /g HTTP/1.1\r\n%s\r\n",
    b"POST /p hello": b"POST /p HTTP/1.1\r\n%sContent-Length: 5\r\n\r\nhello",
    b"POST /0 ": b"POST /0 HTTP/1.1\r\nContent-Length: 0\r\n%s\r\n",
    b"PUT /c hi": b"PUT /c HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\nX: z\r\n\r\n",
}


async def _send(client: Client, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
        await client.writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("said", _MESSAGES)
@pytest.mark.parametrize("offer", [_OFFER, _OFFER.replace(b"h2c", b"websocket"), _OFFER * 2])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_an_offer_of_another_protocol_is_passed_over_and_takes_no_body(
    said: bytes, offer: bytes, size: int
) -> None:
    async with talking() as client:
        for _ in range(2):
            await _send(client, _MESSAGES[said] % offer, size)
            status, headers, body = await client.response()
            assert (status, body, headers.get(b"connection")) == (200, said, None)


@given(st.lists(st.tuples(st.sampled_from(list(_MESSAGES)), st.booleans()), max_size=40), st.integers(1, 400))
def test_requests_with_offers_and_without_are_read_alike(messages: list[tuple[bytes, bool]], size: int) -> None:
    asyncio.run(_answers_each(messages, size))


async def _answers_each(messages: list[tuple[bytes, bool]], size: int) -> None:
    async with talking() as client:
        await _send(client, b"".join(_MESSAGES[said] % (_OFFER if offers else b"") for said, offers in messages), size)
        assert [(await client.response())[2] for _ in messages] == [said for said, _ in messages]


async def test_an_offer_is_not_shown_and_what_stands_beside_it_is() -> None:
    def handler(request: Request) -> Response:
        return Response(200, [], b" ".join(name + b"=" + value for name, value in request.headers))

    async with talking(handler) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nce-id: 1\r\n\r\n")
        assert (await client.response())[2] == b"host=h connection=Upgrade ce-id=1"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /p HTTP/1.1\r\n" + _OFFER.replace(b"Upgrade,", b"Upgrade, close,") + b"Content-Length: 5\r\n\r\nhello",
        b"POST /p HTTP/1.0\r\n" + _OFFER + b"Content-Length: 5\r\n\r\nhello",
    ],
)
async def test_a_connection_with_an_offer_ends_where_the_client_asks(request_bytes: bytes) -> None:
    async with talking() as client:
        client.send(request_bytes)
        _, headers, body = await client.response()
        assert (body, headers[b"connection"]) == (b"POST /p hello", b"close")
        assert await client.rest() == b""


@pytest.mark.parametrize("length", [b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n"])
async def test_a_body_behind_an_offer_is_bounded(length: bytes) -> None:
    async with talking() as client:
        client.send(b"POST / HTTP/1.1\r\n" + _OFFER + length + b"x" * 1001)
        assert (await client.response())[0] == 413


async def test_a_body_behind_an_offer_is_told_to_come() -> None:
    async with talking() as client:
        client.send(b"POST /p HTTP/1.1\r\n" + _OFFER + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response())[0] == 100
        client.send(b"hello")
        assert (await client.response())[2] == b"POST /p hello"


async def test_a_tunnel_is_refused_and_nothing_in_it_is_read() -> None:
    async with talking() as client:
        client.send(b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\nGET /inner HTTP/1.1\r\n\r\n")
        status, headers, _ = await client.response()
        assert (status, headers[b"connection"]) == (501, b"close")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("codings", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n", 200),
        (b"transfer-encoding:\tChunked \r\n", 200),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        (b"Transfer-Encoding: gzip\r\n", 501),
        (b"Transfer-Encoding: identity\r\n", 501),
        (b"Transfer-Encoding: chunked, gzip\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    ],
)
async def test_no_coding_but_chunked_is_taken(codings: bytes, status: int) -> None:
    async with talking() as client:
        client.send(b"POST /p HTTP/1.1\r\n" + codings + b"\r\n2\r\nhi\r\n0\r\n\r\n")
        assert (await client.response())[0] == status


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b" gold \t ", b"gold"),
        (b"\t gold", b"gold"),
        (b"gold", b"gold"),
        (b" a \t b ", b"a \t b"),
        (b" \t ", b""),
        (b"", b""),
        (b" gold\xc2\xa0 ", b"gold\xc2\xa0"),
    ],
)
async def test_blanks_round_a_value_are_no_part_of_it(sent: bytes, read: bytes) -> None:
    def handler(request: Request) -> Response:
        return Response(200, [], request.header(b"x") or b"")

    async with talking(handler) as client:
        client.send(b"GET / HTTP/1.1\r\nX:" + sent + b"\r\n\r\n")
        status, _, body = await client.response()
        assert (status, body) == (200, read)


@pytest.mark.parametrize(
    ("beginning", "endless"),
    [
        (_CHUNKED + b"0\r\nx: ", b"a"),
        (_CHUNKED + b"0\r\n", b"a"),
        (_CHUNKED + b"0\r\n", b"x: y\r\n"),
        (_CHUNKED + b"1;x=", b"a"),
        (_CHUNKED + b"1;", b"a"),
        (_CHUNKED + b"2\r\nhi\r\n0;x=", b"a"),
        (_CHUNKED, b"0"),
        (b"", b"\r\n"),
        (b"GET /", b"a"),
    ],
)
@pytest.mark.parametrize("limits", [ServerLimits(), ServerLimits(head_bytes=500)])
async def test_no_part_of_a_request_has_to_end_for_its_bound_to_hold(
    beginning: bytes, endless: bytes, limits: ServerLimits
) -> None:
    async def fill(client: Client) -> None:
        client.send(beginning)
        while not client.writer.transport.is_closing():
            client.send(endless * 2000)
            await client.writer.drain()
            await asyncio.sleep(0)

    async with talking(echo, limits) as client:
        filling = asyncio.create_task(fill(client))
        status, headers, _ = await client.response()
        filling.cancel()
        await asyncio.wait([filling])
    assert (status, headers[b"connection"]) == (431, b"close")


async def test_what_ends_in_time_is_not_counted_together() -> None:
    chunk = b"1;x=" + b"y" * 300 + b"\r\nz\r\n"
    request = _CHUNKED + chunk * 5 + b"0\r\nX: " + b"y" * 300 + b"\r\n\r\n"
    async with talking() as client:
        await _send(client, request * 2, 1)
        assert [(await client.response())[2] for _ in "ab"] == [b"POST / zzzzz"] * 2


async def test_a_body_in_tiny_chunks_takes_little_more_than_its_bytes(eventually: Eventually) -> None:
    async with serving(echo, ServerLimits()) as server, connected(server) as client:
        tracemalloc.start()
        try:
            client.send(_CHUNKED + b"2\r\nab\r\n" * 100_000)
            await eventually(lambda: server.body_bytes == 200_000)
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert held < 2_000_000
        client.send(b"0\r\n\r\n")
        assert (await client.response())[2] == b"POST / " + b"ab" * 100_000


async def test_a_client_that_drips_while_its_answers_are_unread_is_given_up() -> None:
    big = Response(200, [], b"x" * (8 << 20))
    async with serving(lambda _: big, ServerLimits(idle_s=0.2)) as server, connected(server) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\n\r\n" * 8 + b"GET /")
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        while server.open_connections or not client.writer.transport.is_closing():
            client.send(b"a")
            await asyncio.sleep(0.02)
            assert asyncio.get_running_loop().time() - began < PATIENCE_S / 2
