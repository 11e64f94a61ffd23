"""Who answers a delivery: a server at a URL, or a `Sink` in this very process.

Invariant: every attempt ends within its time-out in an answer, in `Unreachable`, or in `SinkUnavailable` where this
machine is what has no room for it; an answer of a sink in this process says what its HTTP server would have said.
"""

import asyncio
import logging
import math
from collections.abc import Mapping

from wayside.eventing.cancellation import ends_this_task
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Headers, Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary, encode_structured
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable

log = logging.getLogger("wayside.broker")
_TAKEN = Response(202)
_FAILED = Response.text(500, "the sink in this process failed; the broker's log has the details")


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
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            await sink.send(event)
    except SinkUnavailable as exc:
        wait = [(b"retry-after", b"%d" % math.ceil(exc.retry_after_s))] if exc.retry_after_s else []
        return Response.text(503, str(exc), wait)
    except (EventRefused, MalformedEvent) as exc:
        return Response.text(400, str(exc))
    except (Exception, asyncio.CancelledError) as exc:  # the edge of a sink that is not ours, as a server's handler is
        if ends_this_task(exc):
            raise
        if limit.expired():
            raise Unreachable(f"the sink in this process: no answer within {timeout_s:g} s") from exc
        log.exception("the sink in this process failed on event %s of %s", event.id, event.source)
        return _FAILED
    return _TAKEN
