"""The stateful detector service: each event is judged by the memory of its service, and moves that memory on.

Invariant: a 2xx follows the commit that holds the verdict and the memory after it. An event that is sent again is told
the verdict of then, byte for byte, and moves nothing; so kill the process anywhere, send again what was not answered,
and the verdicts are those of an undisturbed run over the same order of arrival.
"""

import asyncio
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.kinds.protocol import Arrays, Execution, StatefulRowDetector
from wayside.detectors.kinds.registry import STATEFUL_KINDS
from wayside.detectors.scoring.calibration import quantise
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.scoring.stream import advance_rows
from wayside.detectors.serving.answering import PLAIN, Answer, Wanted
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.stateful_store import Judged, Judgement, StatefulStore, StoreLimits
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import ConfigurationError, QueueFull, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import Check, View
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.payloads.payload import Limits
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import ServiceKey, request_time

_PAYLOAD = Limits()


@dataclass(frozen=True, slots=True, eq=False)
class StreamJudge:
    """Judges one event at a time; keeps nothing. A memory is its arrays' bytes, float64, one after another by name."""

    rows: RowJudge
    identity: DetectorIdentity
    detector: StatefulRowDetector
    start: Arrays
    payload_limits: Limits = _PAYLOAD

    @classmethod
    def of(
        cls,
        artifact: Artifact,
        identity: DetectorIdentity,
        execution: Execution | None = None,
        payload_limits: Limits = _PAYLOAD,
    ) -> Self:
        """Restore from an artifact. Raises `ConfigurationError`."""
        if artifact.kind not in STATEFUL_KINDS:
            raise ConfigurationError(f"{artifact.kind} keeps no memory: serve it without --data")
        rows = RowJudge.of(artifact, execution)
        detector = cast("StatefulRowDetector", rows.detector)  # which its kind says
        return cls(rows, identity, detector, detector.memory(), payload_limits)

    def judge(self, event: CloudEvent, memory: bytes | None) -> Judgement:
        """Judge an event by the memory before it, None for the one that the artifact starts with.

        Raises `MalformedEvent`; `WaysideError` where the memory is not of this artifact.
        """
        coded = self.rows.schema.align(decode(message_of(event), self.payload_limits))
        before = self.start if memory is None else self._unpack(memory)
        scores, after = advance_rows(self.detector, self.rows.preprocessing, before, coded)
        said = self.rows.with_faults(self.rows.verdict(quantise(scores)), coded)
        return Judgement(said, said.event(event, self.identity), _pack(after))

    def _unpack(self, memory: bytes) -> Arrays:
        sizes = {name: self.start[name].size for name in sorted(self.start)}
        if len(memory) != 8 * sum(sizes.values()):
            raise WaysideError(f"a memory has {len(memory)} bytes, its artifact's have {8 * sum(sizes.values())}")
        values = np.frombuffer(memory, "<f8").astype(np.float64)
        parts = np.split(values, np.cumsum(list(sizes.values()))[:-1])
        return {name: part.reshape(self.start[name].shape) for name, part in zip(sizes, parts, strict=True)}


def _pack(memory: Arrays) -> bytes:
    return b"".join(np.ascontiguousarray(memory[name], "<f8").tobytes() for name in sorted(memory))


class StatefulMetrics:
    """What a stateful detector counts beyond any other. A process serves one, and makes this once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evicted = Counter(
            "wayside_detector_memories_evicted", "Memories forgotten for want of room.", registry=registry
        )
        self.forgotten = Counter(
            "wayside_detector_verdicts_forgotten", "Verdicts whose events are not known again.", registry=registry
        )


class StatefulService:
    """Judges events of `types` one after another, in the order of the calls of `answer`, off the event loop.

    What waits is bounded by `limits`, in events and in bytes of their data. Owns the store. `views` shows its keys.
    """

    may_drop = False

    def __init__(
        self,
        judge: StreamJudge,
        store: StatefulStore,
        metrics: DetectorMetrics,
        limits: BatchLimits,
        types: Container[str] = Side.REQUEST.types,
    ) -> None:
        self.types = types
        self.metrics = metrics
        self.identity = judge.identity
        self._judge = judge
        self._store = store
        self._counts = StatefulMetrics(metrics.registry)
        self._limits = limits
        self._waiting: dict[asyncio.Task[Judged], int] = {}

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"store": lambda: self._store.running}

    @property
    def views(self) -> Mapping[str, View]:
        return {"/memories": self._store.view}

    async def start(self) -> None:
        """Raises `ConfigurationError` where another process has the store, or it cannot be opened."""
        await self._store.start()

    async def stop(self) -> None:
        """Judge what is waiting, then close the store. May be called twice or before `start`."""
        if self._waiting:
            await asyncio.wait(list(self._waiting))
        await self._store.stop()

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """The verdict on an event, of now or of when it first came; none where it first came with other data. It has
        no feature scores, whatever is wanted.

        Raises `MalformedEvent` and `QueueFull`; `sqlite3.Error` where the disk fails. Nothing was changed then. An
        event that nobody waits for any longer is judged all the same: it may have been already.
        """
        request_time(event)  # refused before it costs a score
        judged = await asyncio.shield(self._admit(event))
        return Answer(judged.outcome, judged.verdict)

    def _admit(self, event: CloudEvent) -> "asyncio.Task[Judged]":
        size = len(event.data)
        if len(self._waiting) >= self._limits.queue_requests:
            raise QueueFull(f"{len(self._waiting)} events are waiting to be judged already")
        if self._waiting and sum(self._waiting.values()) + size > self._limits.queue_bytes:
            raise QueueFull(f"{sum(self._waiting.values())} bytes of events are waiting to be judged already")
        task = asyncio.create_task(self._judged(event))
        self._waiting[task] = size
        task.add_done_callback(self._leave)
        return task

    def _leave(self, task: "asyncio.Task[Judged]") -> None:
        del self._waiting[task]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any longer

    async def _judged(self, event: CloudEvent) -> Judged:
        key, digest = str(ServiceKey.of(event)), self.identity.digest
        judged = await self._store.judge(event, key, digest, lambda memory: self._judge.judge(event, memory))
        self._counts.evicted.inc(judged.evicted)
        self._counts.forgotten.inc(judged.forgotten)
        if judged.said is not None:
            self.metrics.batch_rows.observe(len(judged.said.scores))
            self.metrics.rows.inc(len(judged.said.scores))
            self.metrics.rows_flagged.inc(sum(judged.said.decisions))
            self.metrics.rows_failed.inc(judged.said.scores.count(None))
        return judged


def check_folder(artifact: Artifact, folder: Path | None) -> Path:
    """Where a stateful detector keeps what it must not forget. Raises `ConfigurationError` where nothing is named."""
    if folder is None:
        raise ConfigurationError(
            f"{artifact.kind} remembers what it judged: it needs --data, a folder of its own on a volume, and runs as"
            " one process, never two"
        )
    return folder


def open_stateful(
    artifact: Artifact,
    identity: DetectorIdentity,
    folder: Path | None,
    metrics: DetectorMetrics,
    limits: BatchLimits,
    types: Container[str] = Side.REQUEST.types,
    kept: StoreLimits | None = None,
    payload_limits: Limits = _PAYLOAD,
) -> StatefulService:
    """The service of an artifact of a stateful kind, not started; its file is `stateful-NAME.sqlite` in `folder`.

    Raises `ConfigurationError`.
    """
    store = StatefulStore(check_folder(artifact, folder), identity.name, kept or StoreLimits())
    judge = StreamJudge.of(artifact, identity, payload_limits=payload_limits)
    return StatefulService(judge, store, metrics, limits, types)
