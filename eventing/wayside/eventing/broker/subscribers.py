"""Who answers a delivery: a server at a URL, or a `Sink` in this very process.

Invariant: every attempt ends within its time-out in an answer or in `Unreachable`; an answer of a sink in this process
says what its HTTP server would have said.
"""

import asyncio
import math
from collections.abc import Mapping

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Headers, Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary, encode_structured
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable

_TAKEN = Response(202)


class Subscribers:
    """`sinks` are those in this process, by the URL that a Trigger's subscriber resolves to; the caller's to stop."""

    def __init__(self, client: HttpClient, sinks: Mapping[Url, Sink]) -> None:
        self._client = client
        self._sinks = sinks

    async def send(
        self, url: Url, event: CloudEvent, headers: Headers, timeout_s: float, structured: bool = False
    ) -> Response:
        """One attempt. `headers` go beside the event's own. Raises `Unreachable`."""
        sink = self._sinks.get(url) if self._sinks else None
        if sink is not None:
            return await _hand_over(sink, event, timeout_s)
        own, body = (encode_structured if structured else encode_binary)(event)
        return await self._client.send(b"POST", url, own + headers, body, timeout_s=timeout_s)


async def _hand_over(sink: Sink, event: CloudEvent, timeout_s: float) -> Response:
    try:
        async with asyncio.timeout(timeout_s):
            await sink.send(event)
    except TimeoutError as exc:
        raise Unreachable(f"the sink in this process: no answer within {timeout_s:g} s") from exc
    except SinkUnavailable as exc:
        wait = [(b"retry-after", b"%d" % math.ceil(exc.retry_after_s))] if exc.retry_after_s else []
        return Response.text(503, str(exc), wait)
    except (EventRefused, MalformedEvent) as exc:
        return Response.text(400, str(exc))
    return _TAKEN
