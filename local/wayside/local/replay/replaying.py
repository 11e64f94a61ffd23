"""Detectors as a replay drives them: events in, verdicts and alerts out, by the very parts that services are made of.

Invariant: windows and their verdicts are those of a service that takes the same events in the same order from its
first; row verdicts are those of any service of the artifact.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.service.reading import RowReader
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.drift.stream import Said, WindowStream
from wayside.detectors.kinds.protocol import Execution, Matrix
from wayside.detectors.kinds.registry import STATEFUL_KINDS
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.request_body import RouteLimits
from wayside.detectors.serving.stateful import StreamJudge
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import ServiceKey, request_time_if_any, request_time_ns
from wayside.local.replay.known import KnownEvents, Meeting

Emit = Callable[[CloudEvent], None]
"""Takes a verdict or an alert."""
_BATCH_ROWS = 4096
_LIMITS = RouteLimits().payload
_NEVER_NS = 1 << 62  # later than any time that an event may have: ahead of no clock
TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """As the service would be set that the replay stands for."""

    side: Side = Side.REQUEST
    name: str | None = None
    limits: WindowLimits = field(default_factory=WindowLimits)
    remember_s: float = 7 * 86400.0
    execution: Execution = field(default_factory=Execution)


class Replaying(Protocol):
    """A detector that takes events one after another, and what came of them so far."""

    rows: int

    def take(self, event: CloudEvent, came_ns: int | None) -> str:
        """What becomes of an event, in a word; `came_ns` is when it came, None where nobody knows.

        Raises `MalformedEvent`, and nothing is changed then.
        """

    def finish(self) -> None:
        """There are no more."""

    def told(self) -> Sequence[str]:
        """What came of all, in lines for people."""

    def close(self) -> None:
        """End what runs in a process of its own. May be called twice."""


def replaying_of(artifact: Artifact, settings: ReplaySettings, emit: Emit) -> Replaying:
    """What replays an artifact's detector. Raises `ConfigurationError` where it does not judge such events."""
    identity = artifact.identity(settings.name)
    if settings.side is Side.PAIR:
        raise ConfigurationError("--on pair cannot be replayed: name request, response, verdict or feedback")
    if artifact.is_window_detector:
        return ReplayedWindows(WindowJudge.of(artifact, identity, settings.execution), settings, emit)
    if settings.side.column is not None:
        raise ConfigurationError(f"--on {settings.side.value}: a {artifact.kind} detector judges rows of payloads")
    if artifact.kind in STATEFUL_KINDS:
        judge = StreamJudge.of(artifact, identity, settings.execution, _LIMITS)
        return ReplayedStreams(judge, settings.remember_s, emit)
    return ReplayedRows(RowJudge.of(artifact, settings.execution), identity, emit)


class ReplayedWindows:
    """Windows of rows, key by key: what a `WindowStream` says of the events that a service would take."""

    def __init__(self, judge: WindowJudge, settings: ReplaySettings, emit: Emit) -> None:
        windows = judge.settings
        self._judge = judge
        self._emit = emit
        self._reader = RowReader(judge.schema, settings.side, windows.compared, windows.missing, _LIMITS)
        self._stream = WindowStream(judge, settings.limits)
        self._known = KnownEvents(settings.remember_s)
        self._position = 0
        self._outcomes: Counter[str] = Counter()
        self._alerts: Counter[str] = Counter()
        self.rows = 0

    def take(self, event: CloudEvent, came_ns: int | None) -> str:
        incoming = self._reader.read(event, _NEVER_NS if came_ns is None else came_ns)
        meeting = self._known.meet(incoming.identity, incoming.digest, incoming.time_ns)
        if meeting is not Meeting.NEW:
            return meeting.value
        self._position += 1
        self.rows += len(incoming.rows)
        fate, said = self._stream.take(replace(incoming.at(self._position), came_ns=came_ns))
        for each in said:
            self._tell(each)
        return fate.value

    def _tell(self, said: Said) -> None:
        if isinstance(said, Judged):
            self._outcomes[said.outcome] += 1
            self._emit(said.verdict)
        for alert in said.alerts:
            self._alerts[alert.type.rpartition(".")[2]] += 1
            self._emit(alert)

    def finish(self) -> None:
        """What is open stays open, as it does in a service that waits for more."""

    def told(self) -> Sequence[str]:
        rows = {name.replace("_", " "): count for name, count in self._stream.rows().items()}
        lines = [
            f"{self.rows} rows of {len(self._stream.progress())} keys: {_counted(rows)}",
            f"{self._outcomes.total()} windows: {_counted(self._outcomes) or 'none complete'}",
        ]
        return [*lines, f"alerts: {_counted(self._alerts)}"] if self._alerts else lines

    def close(self) -> None:
        _close(self._judge.detector)


class ReplayedRows:
    """Rows one by one, many events at once."""

    def __init__(self, judge: RowJudge, identity: DetectorIdentity, emit: Emit) -> None:
        self._judge = judge
        self._identity = identity
        self._emit = emit
        self._waiting: list[tuple[CloudEvent, Matrix]] = []
        self._waiting_rows = 0
        self._flagged = self._failed = 0
        self.rows = 0

    def take(self, event: CloudEvent, came_ns: int | None) -> str:
        request_time_if_any(event)  # refused as the service refuses it
        coded = self._judge.schema.align(decode(message_of(event), _LIMITS))
        self._waiting.append((event, coded))
        self._waiting_rows += len(coded)
        self.rows += len(coded)
        if self._waiting_rows >= _BATCH_ROWS:
            self.finish()
        return TAKEN

    def finish(self) -> None:
        """Judge what waits."""
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        if not waiting:
            return
        columns = self._judge.columns(np.concatenate([coded for _, coded in waiting]))
        ends = np.cumsum([len(coded) for _, coded in waiting])
        for (event, coded), end in zip(waiting, ends.tolist(), strict=True):
            verdict = self._judge.with_faults(self._judge.verdict_of(columns[end - len(coded) : end]), coded)
            self._flagged += sum(verdict.decisions)
            self._failed += verdict.scores.count(None)
            self._emit(verdict.event(event, self._identity))

    def told(self) -> Sequence[str]:
        return [f"{self.rows} rows: {self._flagged} flagged, {self._failed} without a finite score"]

    def close(self) -> None:
        _close(self._judge.detector)


class ReplayedStreams:
    """Events one after another, each by the memory of its service."""

    def __init__(self, judge: StreamJudge, remember_s: float, emit: Emit) -> None:
        self._judge = judge
        self._emit = emit
        self._known = KnownEvents(remember_s)
        self._memories: dict[ServiceKey, bytes] = {}
        self._flagged = 0
        self.rows = 0

    def take(self, event: CloudEvent, came_ns: int | None) -> str:
        time_ns, key = request_time_ns(event), ServiceKey.of(event)
        judgement = self._judge.judge(event, self._memories.get(key))
        meeting = self._known.meet(bytes.fromhex(stable_id(*event.key)), event.digest, time_ns)
        if meeting in (Meeting.DUPLICATE, Meeting.CONFLICT):
            return meeting.value
        self._memories[key] = judgement.memory
        self.rows += len(judgement.said.scores)
        self._flagged += sum(judgement.said.decisions)
        self._emit(judgement.verdict)
        return TAKEN

    def finish(self) -> None:
        """Nothing waits."""

    def told(self) -> Sequence[str]:
        return [f"{self.rows} rows of {len(self._memories)} services: {self._flagged} flagged"]

    def close(self) -> None:
        _close(self._judge.detector)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _close(detector: object) -> None:
    """Some kinds run in a process of their own."""
    close = getattr(detector, "close", None)
    if close is not None:
        close()
