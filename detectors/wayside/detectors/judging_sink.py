"""A detector as a sink: what it is sent it judges, and its verdict goes to another sink. For events that are pulled.

Invariant: `send` returns only after the verdict, where there is one, was accepted by `verdicts`, or its rows are on
disk; what a detector does not score is acknowledged and counted, as over HTTP.
"""

from collections.abc import Awaitable, Callable

from wayside.detectors.ingress import Answer
from wayside.detectors.metrics import DetectorMetrics
from wayside.eventing.errors import MalformedEvent, QueueFull
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable
from wayside.eventing.vocabulary import REQUEST

_RETRY_AFTER_S = 1.0


class JudgingSink:
    """Judges request events with `judge`, which may raise `MalformedEvent` or `QueueFull`.

    Owns `verdicts`, which takes the replies; a detector that has its own outbox never replies, and needs none.
    """

    def __init__(
        self, judge: Callable[[CloudEvent], Awaitable[Answer]], metrics: DetectorMetrics, verdicts: Sink | None = None
    ) -> None:
        self._judge = judge
        self._verdicts = verdicts
        self._events = metrics.events

    async def start(self) -> None:
        if self._verdicts is not None:
            await self._verdicts.start()

    async def stop(self) -> None:
        if self._verdicts is not None:
            await self._verdicts.stop()

    async def send(self, event: CloudEvent) -> None:
        """Judge one event. Raises `EventRefused` for what cannot be judged, `SinkUnavailable` for what may be later."""
        if event.type != REQUEST:
            self._events.labels("ignored").inc()
            return
        try:
            answer = await self._judge(event)
        except MalformedEvent as exc:
            self._events.labels("malformed").inc()
            raise EventRefused(str(exc)) from exc
        except QueueFull as exc:
            self._events.labels("overloaded").inc()
            raise SinkUnavailable(str(exc), _RETRY_AFTER_S) from exc
        if answer.reply is not None:
            assert self._verdicts is not None, "whoever replies is given a place for it"
            await self._verdicts.send(answer.reply)
        self._events.labels(answer.outcome).inc()
