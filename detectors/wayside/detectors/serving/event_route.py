"""The hot path: `POST /` and `POST /detectors/{name}` take one CloudEvent and answer it. Plain ASGI.

Source: CloudEvents 1.0 HTTP binding; Knative Eventing's delivery (a 2xx with an event is the reply; 429 and 503 are
sent again, after `Retry-After`). FastAPI's own routing costs three times what the rest of a request does, so it serves
what is not asked for every event.
Invariant: every request is answered and counted once. What is not the client's event is a 4xx with a reason; an event
that no detector scores (another type, a cut body, an error's text) is acknowledged with 202 and no body, so that a
Trigger without a filter never loops.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from wayside.detectors.serving.answering import PLAIN, Answering, Wanted
from wayside.detectors.serving.connection import ClientWatch, watch_of
from wayside.detectors.serving.metrics import ServiceMetrics
from wayside.detectors.serving.request_body import (
    BodyHeaders,
    BodyTooLarge,
    ClientGone,
    CodingUnread,
    Held,
    RouteLimits,
)
from wayside.detectors.serving.whole_response import RESPOND, Respond
from wayside.detectors.tabular.event_rows import is_judged
from wayside.eventing.errors import MalformedEvent, QueueFull, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import Headers, decode, encode_binary

log = logging.getLogger("wayside.detectors")
Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
Resolve = Callable[[str | None], Answering | None]

_PREFIX = "/detectors/"
_LARGE_BYTES = 128 << 10
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_TRY_LATER = (b"retry-after", b"1")
_NOTHING = (b"content-length", b"0")


class _Reply(NamedTuple):
    """A whole response; `outcome` is what to count it as."""

    outcome: str
    status: int
    headers: Headers
    body: bytes


_ACKNOWLEDGED = _Reply("ignored", 202, [_NOTHING], b"")


class EventRoute:
    """An ASGI application that answers events by the detectors that `resolve` finds, None being the default one.

    What is no post of an event goes to `fallback`. `wanted` is asked of every event, headers may ask for more. A 400
    is an event that can never be judged, 413 and 415 a body that is not read, 429 more than can be queued, 503 a
    detector that cannot score now; both say when to come again. Anything else is a 500, and logged.
    """

    def __init__(
        self,
        resolve: Resolve,
        fallback: Application,
        metrics: ServiceMetrics,
        limits: RouteLimits | None = None,
        wanted: Wanted = PLAIN,
    ) -> None:
        self._resolve = resolve
        self._fallback = fallback
        self._unknown = metrics.unknown
        self._wanted = wanted
        self._held = Held(limits or RouteLimits())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "POST" else ""
        if path != "/" and not _names_a_detector(path):
            await self._fallback(scope, receive, send)
            return
        answering = self._resolve(None if path == "/" else path[len(_PREFIX) :])
        if answering is None:
            self._unknown.inc()
            reply: _Reply | None = _text("unknown", 404, "no detector of this name is served")
        else:
            reply = await self._reply(answering, scope, receive)
            answering.metrics.count("gone" if reply is None else reply.outcome)
        if reply is not None:
            if not _responded(scope, reply):
                await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
                await send({"type": "http.response.body", "body": reply.body})
            await self._held.until_taken(watch_of(scope))

    async def _reply(self, answering: Answering, scope: Scope, receive: Receive) -> _Reply | None:
        """None where nobody waits for one."""
        try:
            return await self._answer(answering, scope, receive)
        except ClientGone:
            return None
        except WaysideError as exc:
            return _refusal(exc)
        except asyncio.CancelledError:
            if watch_of(scope).is_gone:  # it was cancelled for that, and this is the task's edge
                return None
            raise
        except Exception:  # the edge of a request: it may not harm another, and its sender must hear of it
            log.exception("an event could not be judged")
            return _text("failed", 500, "internal error; the detector's log has the details")

    async def _answer(self, answering: Answering, scope: Scope, receive: Receive) -> _Reply:
        headers = scope["headers"]
        told = BodyHeaders.of(headers)
        with self._held.request(told.announced) as body:
            event = await self._decode(headers, await body.inflate(await body.read(receive), told.coding))
            if event.type not in answering.types or not is_judged(event):
                return _ACKNOWLEDGED
            wanted = self._wanted.asked_by(headers)
            watch = watch_of(scope) if answering.may_drop else ClientWatch()
            watch.cancels(asyncio.current_task())
            try:
                answer = await answering.answer(event, wanted)
            finally:
                watch.cancels(None)
        return _acknowledged(answer.outcome) if answer.reply is None else _replied(answer.outcome, answer.reply)

    async def _decode(self, headers: Headers, body: bytes) -> CloudEvent:
        """A large structured event takes longer than the event loop can be spared."""
        if len(body) <= _LARGE_BYTES:
            return decode(headers, body)
        return await self._held.apart(decode, headers, body)


def _names_a_detector(path: str) -> bool:
    return path.startswith(_PREFIX) and len(path) > len(_PREFIX) and "/" not in path[len(_PREFIX) :]


def _responded(scope: Scope, reply: _Reply) -> bool:
    """Whether the reply could be sent at once; our own connections can, as long as their clients read."""
    respond: Respond | None = scope.get("extensions", {}).get(RESPOND)
    return respond is not None and respond(reply.status, reply.headers, reply.body)


def _acknowledged(outcome: str) -> _Reply:
    return _Reply(outcome, 202, [_NOTHING], b"")


def _replied(outcome: str, event: CloudEvent) -> _Reply:
    headers, body = encode_binary(event)
    headers.append((b"content-length", b"%d" % len(body)))
    return _Reply(outcome, 200, headers, body)


def _refusal(error: WaysideError) -> _Reply:
    """What an error that was foreseen is to the client."""
    match error:
        case MalformedEvent():
            return _text("malformed", 400, str(error))
        case BodyTooLarge():
            return _text("malformed", 413, str(error))
        case CodingUnread():
            return _text("malformed", 415, str(error))
        case QueueFull():
            return _text("overloaded", 429, str(error), [_TRY_LATER])
    log.warning("an event could not be judged now: %s", error)
    return _text("failed", 503, str(error), [_TRY_LATER])


def _text(outcome: str, status: int, reason: str, headers: Headers | None = None) -> _Reply:
    body = reason.encode(errors="backslashreplace") + b"\n"
    return _Reply(outcome, status, [_TEXT, (b"content-length", b"%d" % len(body)), *(headers or [])], body)
