"""The row detector service: a request or a response event in, its verdict event in the reply.

Invariant: a 2xx that carries a verdict is the acknowledgement; nothing is kept, so the service scales and restarts
freely, and the same event gives the same reply, byte for byte.
"""

from collections.abc import Mapping

from wayside.detectors.batching import BatchLimits, MicroBatcher
from wayside.detectors.event_rows import read_rows
from wayside.detectors.ingress import Answer
from wayside.detectors.judge import RowJudge
from wayside.detectors.metrics import DetectorMetrics
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import Check
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import request_time


class RowService:
    """Judges the rows of events with one detector; `answer` is what an `Ingress` serves. `checks` are its readiness."""

    def __init__(
        self, judge: RowJudge, identity: DetectorIdentity, metrics: DetectorMetrics, limits: BatchLimits
    ) -> None:
        self._judge = judge
        self._identity = identity
        self._metrics = metrics
        self._batcher = MicroBatcher(judge.score, judge.detector.features, limits, metrics.batch_rows.observe)

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"scoring": lambda: self._batcher.running}

    async def start(self) -> None:
        await self._batcher.start()

    async def stop(self) -> None:
        """Score what is waiting, then end."""
        await self._batcher.stop()

    async def answer(self, event: CloudEvent) -> Answer:
        """The verdict on an event's rows. Raises `MalformedEvent`, `QueueFull`."""
        request_time(event)  # refused before it costs a score
        rows = read_rows(event, self._judge.detector.features)
        verdict = self._judge.verdict(await self._batcher.score(rows))
        self._metrics.rows.inc(len(rows))
        self._metrics.rows_flagged.inc(sum(verdict.decisions))
        return Answer("scored", verdict.event(event, self._identity))
