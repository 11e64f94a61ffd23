"""A detector as a sink: what it is sent it judges, and its verdict goes to another sink. For events that are pulled.

Invariant: `send` returns only after the verdict, where there is one, was accepted by `verdicts`, or its rows are on
disk; what a detector does not score is acknowledged and counted, as over HTTP. An event whose verdict could not be
handed on is not judged again when it is sent again.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container

from wayside.detectors.serving.answering import Answer
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.tabular.event_rows import Side, is_judged
from wayside.eventing.errors import MalformedEvent, QueueFull, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable

_RETRY_AFTER_S = 1.0
# verdicts that wait for their event to be sent again; more than a source has in flight, so that none is judged twice
_WAITING_LIMIT = 1024


class JudgingSink:
    """Judges events of `types` with `judge`, which may raise `MalformedEvent`, or another `WaysideError` for what may
    be judged later.

    Owns `verdicts`, which takes the replies; a detector that has its own outbox never replies, and needs none.
    """

    def __init__(
        self,
        judge: Callable[[CloudEvent], Awaitable[Answer]],
        metrics: DetectorMetrics,
        verdicts: Sink | None = None,
        types: Container[str] = Side.REQUEST.types,
    ) -> None:
        self._judge = judge
        self._types = types
        self._verdicts = verdicts
        self._metrics = metrics
        self._waiting: OrderedDict[tuple[str, str, str, bytes], Answer] = OrderedDict()

    async def start(self) -> None:
        if self._verdicts is not None:
            await self._verdicts.start()

    async def stop(self) -> None:
        if self._verdicts is not None:
            await self._verdicts.stop()

    async def send(self, event: CloudEvent) -> None:
        """Judge one event. Raises `EventRefused` for what cannot be judged, `SinkUnavailable` for what may be later."""
        if event.type not in self._types or not is_judged(event):
            self._metrics.count("ignored")
            return
        answer = await self._answer(event)
        if answer.reply is not None:
            await self._hand_on(event, answer, answer.reply)
        self._metrics.count(answer.outcome)

    async def _answer(self, event: CloudEvent) -> Answer:
        waiting = self._waiting.pop(_identity(event), None) if self._waiting else None
        if waiting is not None:
            return waiting
        try:
            return await self._judge(event)
        except MalformedEvent as exc:
            self._metrics.count("malformed")
            raise EventRefused(str(exc)) from exc
        except QueueFull as exc:
            self._metrics.count("overloaded")
            raise SinkUnavailable(str(exc), _RETRY_AFTER_S) from exc
        except WaysideError as exc:  # what scores is away, or has no memory now
            self._metrics.count("failed")
            raise SinkUnavailable(str(exc), _RETRY_AFTER_S) from exc
        except sqlite3.Error as exc:  # a full disk, or a locked file: the event waits, as over HTTP, until it passes
            self._metrics.count("failed")
            raise SinkUnavailable(f"the detector's store cannot be written: {exc}", _RETRY_AFTER_S) from exc
        except Exception:
            self._metrics.count("failed")
            raise

    async def _hand_on(self, event: CloudEvent, answer: Answer, reply: CloudEvent) -> None:
        assert self._verdicts is not None, "whoever replies is given a place for it"
        try:
            await self._verdicts.send(reply)
        except SinkUnavailable:
            self._waiting[_identity(event)] = answer
            if len(self._waiting) > _WAITING_LIMIT:  # of an event that another member was given, nobody asks again
                self._waiting.popitem(last=False)
            raise


def _identity(event: CloudEvent) -> tuple[str, str, str, bytes]:
    return *event.key, event.digest
