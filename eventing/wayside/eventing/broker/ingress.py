"""The broker's door: POST /<namespace>/<broker> takes a CloudEvent and answers 202 once it is on disk.

Source: Knative Eventing's broker ingress; CloudEvents 1.0 HTTP binding.
Invariant: every request that was read whole is counted under one outcome. A 202 means on disk; anything else means
that the sender still has the event.
"""

import math

from wayside.eventing.broker.metrics import ArrivalCounters
from wayside.eventing.broker.routing import Router, TtlSpent
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.wire import forwarded, read_event
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.http.message import Headers, Request, Response
from wayside.eventing.sink import SinkUnavailable
from wayside.eventing.triggers.names import BrokerName

_ACCEPTED = Response(202)
_ALLOW = (b"allow", b"POST, OPTIONS")
_WEBHOOK: Headers = [_ALLOW, (b"webhook-allowed-origin", b"*"), (b"webhook-allowed-rate", b"*")]


class Ingress:
    """`answer` is the handler of an `HttpServer`."""

    def __init__(self, router: Router, store: BrokerStore, counters: ArrivalCounters) -> None:
        self._router = router
        self._store = store
        self._counters = counters

    async def answer(self, request: Request) -> Response:
        """202 kept; 400 malformed, with the reason; 404 no such broker; 405; 503 no room, with `Retry-After`."""
        if request.method == b"OPTIONS":
            return Response(200, _WEBHOOK)
        if request.method != b"POST":
            return Response.text(405, "use POST", [_ALLOW])
        parts = request.path.removesuffix("/").split("/")
        if len(parts) != 3 and parts != [""]:
            return self._malformed("the path must be /<namespace>/<broker>")
        broker = BrokerName(*parts[1:]) if len(parts) == 3 else BrokerName("", "")
        if not self._router.knows(broker):
            return Response.text(404, f"there is no broker {broker}")
        return await self._admit(broker, request)

    async def _admit(self, broker: BrokerName, request: Request) -> Response:
        try:
            event = read_event(request.headers, request.body)
            arrival = self._router.route(broker, event, forwarded(request.headers))
            await self._store.add(arrival)
        except MalformedEvent as exc:
            return self._malformed(str(exc))
        except TtlSpent as exc:
            self._counters.refused += 1
            return Response.text(400, str(exc))
        except SinkUnavailable as exc:
            self._counters.refused += 1
            return Response.text(503, str(exc), [(b"retry-after", b"%d" % math.ceil(exc.retry_after_s or 1))])
        return _ACCEPTED

    def _malformed(self, reason: str) -> Response:
        self._counters.malformed += 1
        return Response.text(400, reason)
