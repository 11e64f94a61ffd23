"""The middleware message by message: what passes, what is captured of it, and that nothing of ours gets in the way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgi_stage import (
    ASKED,
    AppStage,
    around,
    data,
    echo,
    piece,
    read_all,
    scope_of,
    sink_of_events,
    start,
)
from hypothesis import given
from hypothesis import strategies as st
from logger_stage import settings

from wayside.eventing.vocabulary import FIRST_BYTE_MS, LATENCY_MS, METHOD, PATH, STATUS_CODE, TRUNCATED
from wayside.logger.asgi import PayloadLoggerMiddleware
from wayside.logger.asgi.messages import App, Message, Receive, Scope, Send, request_head


@pytest.fixture
async def stage() -> AsyncIterator[AppStage]:
    async with around(echo) as made:
        yield made


async def test_a_request_and_its_response_are_captured_whole(stage: AppStage) -> None:
    sent = await stage.ask(piece(ASKED[:5], True), piece(ASKED[5:]), scope=scope_of(headers=[(b"x-tenant", b"a")]))
    assert sent == [start(), data(ASKED)]
    request, response = await stage.wait_events()
    assert (request.data, response.data) == (ASKED, ASKED)
    assert request.id == response.id
    assert request.source == response.source == "digits-pod"
    assert request.extensions["metadata"] == '{"X-Tenant":["a"]}'
    assert request.extensions[PATH] == "/v1/models/m:predict"
    assert request.extensions[METHOD] == "POST"
    assert response.extensions[STATUS_CODE] == "200"
    assert 0 <= float(response.extensions[FIRST_BYTE_MS]) <= float(response.extensions[LATENCY_MS])
    assert stage.middleware.counts.responses == {200: 1}


# one row an app: what it does, the events' kinds, and of the response its status, data and whether it is cut


async def streams(scope: Scope, receive: Receive, send: Send) -> None:
    await read_all(receive)
    await send(start())
    for text in (b"data: 1\n\n", b"data: 2\n\n", b""):
        await send(data(text, bool(text)))


async def fails_before(scope: Scope, receive: Receive, send: Send) -> None:
    await read_all(receive)
    raise ValueError("no model")


async def fails_in_the_middle(scope: Scope, receive: Receive, send: Send) -> None:
    await read_all(receive)
    await send(start())
    await send(data(b"par", True))
    raise ValueError("no more")


async def forgets_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    await read_all(receive)
    await send(start())
    await send(data(b"par", True))


async def answers_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await read_all(receive)


async def reads_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(404))
    await send(data(b"no such model"))


async def reads_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(data(await read_all(receive)))


async def hints_early(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await echo(scope, receive, send)


async def adds_trailers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({**start(), "trailers": True})
    await send(data(await read_all(receive)))
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False})


async def sends_bytearrays(scope: Scope, receive: Receive, send: Send) -> None:
    body = bytearray(await read_all(receive))
    await send({"type": "http.response.start", "status": 200, "headers": [[b"Content-Type", b"application/json"]]})
    await send({"type": "http.response.body", "body": memoryview(body)})
    body[:] = b"-" * len(body)


APPS: list[tuple[App, type[Exception] | None, list[str], tuple[str, bytes, bool] | None]] = [
    (echo, None, ["request", "response"], ("200", ASKED, False)),
    (streams, None, ["request", "response"], ("200", b"data: 1\n\ndata: 2\n\n", False)),
    (fails_before, ValueError, ["request", "response"], ("500", b"", True)),
    (fails_in_the_middle, ValueError, ["request", "response"], ("200", b"par", True)),
    (forgets_the_end, None, ["request", "response"], ("200", b"par", True)),
    (answers_nothing, None, ["request", "response"], ("500", b"", True)),
    (reads_nothing, None, [], None),
    (reads_late, None, ["request", "response"], ("200", ASKED, False)),
    (hints_early, None, ["request", "response"], ("200", ASKED, False)),
    (adds_trailers, None, ["request", "response"], ("200", ASKED, False)),
    (sends_bytearrays, None, ["request", "response"], ("200", ASKED, False)),
]


@pytest.mark.parametrize(("app", "error", "kinds", "answer"), APPS, ids=[row[0].__name__ for row in APPS])
async def test_whatever_an_app_does_is_passed_on_and_told_as_it_is(
    app: App, error: type[Exception] | None, kinds: list[str], answer: tuple[str, bytes, bool] | None
) -> None:
    async with around(app) as stage:
        if error is None:
            await stage.ask(piece(ASKED))
        else:
            with pytest.raises(error):
                await stage.ask(piece(ASKED))
        events = await stage.wait_events()
    assert [event.type.rsplit(".", 1)[1] for event in events] == kinds
    if answer is not None:
        told = events[-1]
        assert (told.extensions[STATUS_CODE], told.data, TRUNCATED in told.extensions) == answer


@pytest.mark.parametrize("app", [row[0] for row in APPS], ids=[row[0].__name__ for row in APPS])
async def test_the_server_gets_what_it_would_get_without_us(app: App) -> None:
    """The same messages, the very objects that the app sent, and the same error."""

    async def told(asked: App) -> tuple[list[Message], str]:
        sent, waiting = list[Message](), [piece(ASKED[:3], True), piece(ASKED[3:])]

        async def receive() -> Message:
            return waiting.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await asked(scope_of(), receive, send)
        except Exception as exc:
            return sent, repr(exc)
        return sent, ""

    async with around(app) as stage:
        (with_us, our_error), (without, their_error) = await told(stage.middleware), await told(app)
    assert our_error == their_error
    assert [{**message, "body": bytes(message.get("body", b""))} for message in with_us] == [
        {**message, "body": bytes(message.get("body", b""))} for message in without
    ]


async def test_a_piece_of_a_stream_is_passed_on_before_the_next_is_made() -> None:
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await send(start())
        for number in (1, 2, 3):
            order.append(f"made {number}")
            await send(data(b"%d" % number, number < 3))

    async with around(app) as stage:

        async def send(message: Message) -> None:
            order.append(f"sent {message.get('body', b'head').decode()}")

        waiting = [piece(b"{}")]

        async def receive() -> Message:
            return waiting.pop(0)

        await stage.middleware(scope_of(), receive, send)
    assert order == ["sent head", "made 1", "sent 1", "made 2", "sent 2", "made 3", "sent 3"]


# who goes, and when


async def test_a_client_that_goes_in_mid_answer_leaves_a_cut_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await send(start())
        await send(data(b"first", True))
        assert (await receive())["type"] == "http.disconnect"
        await send(data(b"unheard", True))

    async with around(app) as stage:
        await stage.ask(piece(ASKED), {"type": "http.disconnect"})
        _, response = await stage.wait_events()
    assert (response.data, response.extensions[TRUNCATED]) == (b"first", "true")


async def test_a_client_that_goes_before_the_answer_leaves_its_request_alone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        assert (await receive())["type"] == "http.disconnect"

    async with around(app) as stage:
        await stage.ask(piece(ASKED), {"type": "http.disconnect"})
        (request,) = await stage.wait_events()
    assert request.data == ASKED
    assert stage.middleware.counts.responses == {}


async def test_a_client_that_goes_in_mid_request_leaves_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with around(app) as stage:
        await stage.ask(piece(b"{", True), {"type": "http.disconnect"})
        assert await stage.wait_events() == []


async def test_a_disconnect_that_comes_with_the_last_piece_takes_nothing_away() -> None:
    """A server may tell of the end while it still passes the last message on."""
    last_is_out, gone = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        listening = asyncio.ensure_future(receive())
        await send(start())
        await send(data(b"all"))
        assert (await listening)["type"] == "http.disconnect"

    waiting = [piece(ASKED)]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await last_is_out.wait()
        asyncio.get_running_loop().call_soon(gone.set)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            last_is_out.set()
            await gone.wait()

    async with around(app) as stage:
        await stage.middleware(scope_of(), receive, send)
        _, response = await stage.wait_events()
    assert response.data == b"all"
    assert TRUNCATED not in response.extensions


async def test_a_server_that_cannot_send_is_told_to_the_app_and_recorded_as_broken_off() -> None:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    waiting = [piece(ASKED)]

    async def receive() -> Message:
        return waiting.pop()

    async with around(echo) as stage:
        with pytest.raises(OSError, match="gone"):
            await stage.middleware(scope_of(), receive, send)
        _, response = await stage.wait_events()
    assert (response.data, response.extensions[TRUNCATED]) == (b"", "true")


async def test_a_request_that_is_cancelled_has_no_response() -> None:
    reached = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        reached.set()
        await asyncio.Event().wait()

    async with around(app) as stage:
        asking = asyncio.ensure_future(stage.ask(piece(ASKED)))
        await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        (request,) = await stage.wait_events()
    assert request.data == ASKED


# requests without a body, and answers without one


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"method": "GET"}, 2),
        ({"method": "POST"}, 2),
        ({"method": "POST", "headers": [(b"content-length", b"0")]}, 2),
        ({"method": "POST", "headers": [(b"content-length", b"10")]}, 0),
        ({"method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}, 0),
        ({"method": "GET", "http_version": "2"}, 2),
        ({"method": "POST", "http_version": "2"}, 0),
        ({"method": "GET", "headers": [(b"user-agent", b"kube-probe/1.30")]}, 0),
        ({"method": "GET", "headers": [(b"k-network-probe", b"probe")]}, 0),
    ],
)
async def test_a_request_is_captured_unread_where_it_can_have_no_body(change: dict[str, Any], kinds: int) -> None:
    async with around(reads_nothing) as stage:
        await stage.ask(scope=scope_of(**change))
        assert len(await stage.wait_events()) == kinds


async def test_what_an_app_sends_to_head_is_no_body() -> None:
    async with around(echo) as stage:
        await stage.ask(piece(b"{}"), scope=scope_of("HEAD"))
        _, response = await stage.wait_events()
    assert response.data == b""


@pytest.mark.parametrize("kind", ["websocket", "lifespan.of.tomorrow"])
async def test_what_is_no_http_passes_untouched(kind: str) -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope, receive, send))

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    scope: Scope = {"type": kind, "headers": []}
    async with sink_of_events() as (_, port):
        await PayloadLoggerMiddleware(app, settings(0, port))(scope, receive, send)
    assert seen == [scope, receive, send]


# the scope


@pytest.mark.parametrize("unseen", ["http.response.pathsend", "http.response.zerocopysend"])
async def test_an_app_is_not_offered_to_send_what_we_cannot_see(unseen: str) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    offered = {"http.response.trailers": {}, unseen: {}}
    async with around(app) as stage:
        plain, extended = scope_of(), scope_of(extensions=offered)
        await stage.ask(piece(b"{}"), scope=plain)
        await stage.ask(piece(b"{}"), scope=extended)
    assert seen[0] is plain, "what an app writes into its scope is read by those around us"
    assert seen[1]["extensions"] == {"http.response.trailers": {}}
    assert extended["extensions"] is offered


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ({"path": "/a b/ü", "raw_path": None}, b"/a%20b/%C3%BC"),
        ({"path": "/a", "raw_path": b"/%61"}, b"/%61"),
        ({"path": "/a", "raw_path": b"/a", "query_string": b"q=1"}, b"/a?q=1"),
    ],
)
def test_a_target_is_as_the_client_wrote_it(scope: dict[str, Any], target: bytes) -> None:
    given_scope = {"type": "http", "method": "GET", "query_string": b"", "headers": [], **scope}
    assert request_head(given_scope).target == target


@given(pieces=st.lists(st.binary(max_size=40), min_size=1, max_size=6), answers=st.lists(st.binary(max_size=40)))
async def test_bodies_are_captured_whole_however_they_are_cut(pieces: list[bytes], answers: list[bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await send(start())
        for answer in answers:
            await send(data(answer, True))
        await send({"type": "http.response.body"})

    async with around(app) as stage:
        await stage.ask(*(piece(part, number < len(pieces) - 1) for number, part in enumerate(pieces)))
        request, response = await stage.wait_events()
    assert (request.data, response.data) == (b"".join(pieces), b"".join(answers))
