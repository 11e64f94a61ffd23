"""The HTTP face of a detector: `POST /` takes one CloudEvent and answers it. FastAPI.

Invariant: every request is answered and counted once. What is not the client's event is a 4xx with a reason; an event
that no detector scores (another type, a cut body, an error's text) is acknowledged with 202 and no body, so that a
Trigger without a filter never loops.
"""

import logging
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from wayside.detectors.event_rows import Side
from wayside.detectors.metrics import DetectorMetrics
from wayside.eventing.errors import MalformedEvent, QueueFull
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import decode, encode_binary
from wayside.eventing.vocabulary import is_prediction_or_input

log = logging.getLogger("wayside.detectors")
_RETRY_AFTER_S = "1"
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an event: the outcome to count, and the event to reply with, if any."""

    outcome: str
    reply: CloudEvent | None = None


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """Bounds of what is read: bytes of one body, and requests in hand at once (each may hold a body)."""

    body_bytes: int = 16 << 20
    in_flight: int = 1024


class _BodyTooLarge(Exception):
    """The body goes over the limit."""


class Ingress:
    """An ASGI application around `judge`, which is given events of `types` only and answers each.

    `judge` may raise `MalformedEvent` (400) or `QueueFull` (503 with Retry-After); anything else is a 500 and logged.
    """

    def __init__(
        self,
        judge: Callable[[CloudEvent], Awaitable[Answer]],
        metrics: DetectorMetrics,
        limits: IngressLimits,
        types: Set[str] = Side.REQUEST.types,
    ) -> None:
        self._judge = judge
        self._types = types
        self._metrics = metrics
        self._limits = limits
        self._in_flight = 0
        self.app = FastAPI(openapi_url=None)
        self.app.add_api_route("/", self._post, methods=["POST"], response_model=None)

    async def _post(self, request: Request) -> Response:
        if self._in_flight >= self._limits.in_flight:
            return self._overloaded(f"{self._in_flight} requests are in hand already")
        self._in_flight += 1
        try:
            return await self._answer(request)
        except MalformedEvent as exc:
            return self._refuse(400, str(exc))
        except _BodyTooLarge:
            return self._refuse(413, f"body is over {self._limits.body_bytes} bytes")
        except ClientDisconnect:
            return self._refuse(400, "the connection closed before the body was complete")
        except QueueFull as exc:
            return self._overloaded(str(exc))
        except Exception:  # the edge of a request: it may not harm another, and its sender must hear of it
            log.exception("an event could not be judged")
            self._metrics.events.labels("failed").inc()
            return _text(500, "internal error; the detector's log has the details")
        finally:
            self._in_flight -= 1

    async def _answer(self, request: Request) -> Response:
        event = decode(request.headers.raw, await self._read(request))
        if event.type not in self._types or not is_prediction_or_input(event):
            self._metrics.events.labels("ignored").inc()
            return Response(status_code=202)
        answer = await self._judge(event)
        self._metrics.events.labels(answer.outcome).inc()
        return Response(status_code=202) if answer.reply is None else _event_response(answer.reply)

    async def _read(self, request: Request) -> bytes:
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._limits.body_bytes:
            raise _BodyTooLarge
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._limits.body_bytes:
                raise _BodyTooLarge
            chunks.append(chunk)
        return b"".join(chunks)

    def _refuse(self, status: int, reason: str) -> Response:
        self._metrics.events.labels("malformed").inc()
        return _text(status, reason)

    def _overloaded(self, reason: str) -> Response:
        self._metrics.events.labels("overloaded").inc()
        return _text(503, reason, {"retry-after": _RETRY_AFTER_S})


def _event_response(event: CloudEvent) -> Response:
    headers, body = encode_binary(event)
    response = Response(body)
    response.raw_headers.extend(headers)
    return response


def _text(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    body = reason.encode(errors="backslashreplace") + b"\n"
    return Response(body, status, headers, media_type=_TEXT)
