"""The row detector service: a request or a response event in, its verdict event in the reply.

Invariant: a 2xx that carries a verdict is the acknowledgement; nothing is kept, so the service scales and restarts
freely, and the same event gives the same reply, byte for byte.
"""

import asyncio
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from wayside.detectors.kinds.protocol import Array, Matrix
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.answering import PLAIN, Answer, OutlierType, Wanted
from wayside.detectors.serving.batching import BatchLimits, MicroBatcher, Scored
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import MalformedPayload
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import Check
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.encoding import is_compressed
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.payloads.payload import Limits, Message, Payload
from wayside.eventing.verdict import DetectorIdentity, RowVerdict, finite_or_none
from wayside.eventing.vocabulary import request_time_if_any

R = TypeVar("R")
_LARGE_BYTES = 128 << 10  # of a body that takes the event loop a millisecond or more to read
_LARGE_VALUES = 2048  # of a verdict that takes as long to write
_MOST_FEATURE_SCORES = 1 << 20  # of one answer, which has twenty bytes for each
_PAYLOAD = Limits()


class RowService:
    """Judges the rows of events of `types` with one detector. `checks` are its readiness, `payload_limits` the bounds
    of what is read."""

    may_drop = True

    def __init__(
        self,
        judge: RowJudge,
        identity: DetectorIdentity,
        metrics: DetectorMetrics,
        limits: BatchLimits,
        types: Container[str] = Side.REQUEST.types,
        payload_limits: Limits = _PAYLOAD,
    ) -> None:
        self.types = types
        self.payload_limits = payload_limits
        self.metrics = metrics
        self.identity = identity
        self._judge = judge
        explain = judge.feature_scores if judge.gives_feature_scores else None
        columns = len(judge.schema.columns)
        self._batcher = MicroBatcher(judge.columns, columns, limits, metrics.batch_rows.observe, explain)
        self._large = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-events")

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"scoring": lambda: self._batcher.running}

    async def start(self) -> None:
        await self._batcher.start()

    async def stop(self) -> None:
        """Score what is waiting, then end. May be called twice or before `start`."""
        await self._batcher.stop()
        self._large.shutdown(wait=False)

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """The verdict on an event's rows. Raises `MalformedEvent`, `QueueFull`, or what scoring raised."""
        request_time_if_any(event)  # refused before it costs a score
        wanted = self._given(wanted)
        message = message_of(event)
        is_large = is_large_body(message.body, message.content_encoding)
        rows = await self.apart(self._decode, message) if is_large else self._decode(message)
        verdict = await self._judge_rows(rows, wanted)
        if self._is_small(len(rows), wanted):
            return Answer("scored", verdict.event(event, self.identity))
        return Answer("scored", await self.apart(verdict.event, event, self.identity))

    async def judge(self, payload: Payload, wanted: Wanted = PLAIN) -> RowVerdict:
        """The verdict on a payload's rows. Raises `MalformedPayload`, `QueueFull`, or what scoring raised."""
        encode, columns = self._judge.schema.encode, len(self._judge.schema.columns)
        is_small = payload.rows * columns <= _LARGE_VALUES
        rows = encode(payload) if is_small else await self.apart(encode, payload)
        return await self._judge_rows(rows, self._given(wanted))

    def _given(self, wanted: Wanted) -> Wanted:
        """What can be given of what is wanted: a kind without feature scores judges whole rows, as adserver's do."""
        return wanted if self._judge.gives_feature_scores else PLAIN

    def _decode(self, message: Message) -> Matrix:
        payload = decode(message, self.payload_limits)
        return self._judge.schema.align(payload)  # a row that does not fit is told in the verdict

    async def _judge_rows(self, rows: Matrix, wanted: Wanted) -> RowVerdict:
        if wanted.needs_features and rows.size > _MOST_FEATURE_SCORES:
            raise MalformedPayload(
                f"{rows.size} feature scores are more than {_MOST_FEATURE_SCORES}: send fewer rows at once"
            )
        scored = await self._batcher.score(rows, wanted.needs_features)
        is_small = self._is_small(len(rows), wanted)
        verdict = (
            self._verdict(rows, scored, wanted) if is_small else await self.apart(self._verdict, rows, scored, wanted)
        )
        self.metrics.rows.inc(len(rows))
        if flagged := sum(verdict.decisions):  # a counter costs as much for nothing
            self.metrics.rows_flagged.inc(flagged)
        if failed := verdict.scores.count(None):
            self.metrics.rows_failed.inc(failed)
        return verdict

    def _verdict(self, rows: Matrix, scored: Scored, wanted: Wanted) -> RowVerdict:
        verdict = self._judge.with_faults(self._judge.verdict_of(scored.rows), rows)
        if scored.features is None:
            return verdict
        if wanted.outlier_type is OutlierType.FEATURE:
            decisions = [
                [True] * len(row) if score is None else row
                for row, score in zip(self._judge.feature_decisions(scored.features), verdict.scores, strict=True)
            ]
            verdict = replace(verdict, feature_decisions=decisions)
        return replace(verdict, feature_scores=_finite(scored.features)) if wanted.feature_scores else verdict

    def _is_small(self, rows: int, wanted: Wanted) -> bool:
        """Whether the verdict on so many rows takes the event loop no time to speak of."""
        return rows * (len(self._judge.schema.columns) if wanted.needs_features else 1) <= _LARGE_VALUES

    async def apart(self, work: Callable[..., R], *given: object) -> R:
        """What is large is done in a thread, so that small events do not wait for it; what is small, at once."""
        return await asyncio.get_running_loop().run_in_executor(self._large, work, *given)


def is_large_body(body: bytes, content_encoding: str | None) -> bool:
    """Whether a body takes longer to read than the event loop can be spared."""
    return len(body) > _LARGE_BYTES or is_compressed(body, content_encoding)


def _finite(scores: Array) -> list[list[float | None]]:
    return [[finite_or_none(score) for score in row] for row in scores.tolist()]
