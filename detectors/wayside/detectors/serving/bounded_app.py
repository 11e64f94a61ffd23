"""An ASGI application behind the bounds of the event route: of one body, and of the requests in hand at once.

Source: ASGI 3.0, "HTTP & WebSocket ASGI Message Format".
Invariant: the application within is given whole bodies only, none over the limit; whoever is over it is told so.
"""

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wayside.detectors.serving.connection import watch_of
from wayside.detectors.serving.request_body import BodyHeaders, BodyTooLarge, ClientGone, Held, RouteLimits
from wayside.eventing.errors import QueueFull

_RETRY_AFTER = (b"retry-after", b"1")


class BoundedApp:
    """Reads a body whole before `app` is called. 413 for one over the limit, 429 where too many are in hand."""

    def __init__(self, app: ASGIApp, limits: RouteLimits) -> None:
        self._app = app
        self._held = Held(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            with self._held.request(BodyHeaders.of(scope["headers"]).announced) as held:
                await self._app(scope, _once(await held.read(receive), receive), send)
            await self._held.until_taken(watch_of(scope))
        except BodyTooLarge as exc:
            await _refuse(send, 413, str(exc))
        except QueueFull as exc:
            await _refuse(send, 429, str(exc), _RETRY_AFTER)
        except ClientGone:
            return


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body, and after it what the connection has to say."""
    waiting = [body]

    async def receive_body() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return receive_body


async def _refuse(send: Send, status: int, reason: str, *more: tuple[bytes, bytes]) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
