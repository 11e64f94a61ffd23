"""How events become rows of the log: one event's rows as they are, or a request's beside its response's.

Invariant: when `take` returns, what the event brought is on disk: its rows in the log, or its part among those that
wait. What cannot be read, or does not fit its partner, is refused before anything of it is stored.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wayside.detectors.drift.service.row_log import Entry
from wayside.detectors.drift.service.store import DriftStore
from wayside.detectors.drift.service.windows import to_payload
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.tabular.event_rows import beside, read_rows
from wayside.eventing.clock import Clock, SystemClock, parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told
from wayside.eventing.pairs.join import Fate, JoinSettings, Part, Taken
from wayside.eventing.pairs.subject import Role, Subject, role_of, subject_of
from wayside.eventing.vocabulary import ServiceKey, request_time

log = logging.getLogger("wayside.detectors.drift")
_UNPAIRED = (Fate.LATE, Fate.DUPLICATE, Fate.CONFLICT, Fate.OVERFLOW)


@dataclass(frozen=True, slots=True)
class Intaken:
    """What became of an event: the outcome to count, and the rows that were appended to `key` by it."""

    outcome: str
    key: str = ""
    rows: int = 0


class Intake(Protocol):
    """Takes the events of one detector into its store."""

    async def take(self, event: CloudEvent) -> Intaken:
        """Raises `MalformedEvent`, before anything is stored."""
        ...


class SideIntake(Intake):
    """The rows of each event as they are: requests', or responses'. `names` are the features' where they have some."""

    def __init__(self, store: DriftStore, features: int, names: Sequence[str] | None = None) -> None:
        self._store = store
        self._features = features
        self._names = names

    async def take(self, event: CloudEvent) -> Intaken:
        time = request_time(event)
        rows = read_rows(event, self._features, self._names)
        key = str(ServiceKey.of(event))
        entry = Entry(key, event.source, event.id, time, len(rows), to_payload(rows))
        outcome = await self._store.append(entry, event)
        return Intaken(outcome, key, len(rows)) if outcome == "scored" else Intaken(outcome)


class PairIntake(Intake):
    """The rows of a request beside those of its response, once both have come: at the request's time, under its key."""

    def __init__(
        self,
        store: DriftStore,
        features: int,
        settings: JoinSettings,
        metrics: DetectorMetrics,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._features = features
        self._settings = settings
        self._unpaired = metrics.unpaired
        self._clock = clock or SystemClock()
        self._lonely = 0

    async def take(self, event: CloudEvent) -> Intaken:
        part = _part_of(event, self._features)
        taken, entry = await self._store.append_part(part, event, self._settings, self._clock.time_ns(), self._entry)
        self._count(part.role, taken)
        if entry is not None:
            return Intaken("scored", entry.key, entry.rows)
        return Intaken("duplicate" if taken.payloads else taken.fate.value)  # a whole may be in the log already

    def _entry(self, subject: Subject, request: bytes, response: bytes) -> Entry:
        """The pair's rows for the log. Raises `MalformedEvent` where the two do not fit."""
        asked, answered = _Waiting.of_payload(request), _Waiting.of_payload(response)
        rows = beside(asked.rows, answered.rows, self._features)
        return Entry(asked.key, subject.source, subject.id, asked.time, len(rows), to_payload(rows))

    def _count(self, role: Role, taken: Taken) -> None:
        if taken.fate in _UNPAIRED:
            self._unpaired.labels(role.value, taken.fate.value).inc()
        for lonely in taken.lonely:
            for waited in lonely.roles:
                self._unpaired.labels(waited.value, lonely.fate.value).inc()
            self._lonely += 1
            if is_told(self._lonely):
                log.warning(
                    "%d requests or responses were given up without their partner (%s), the last is the %s of %s",
                    *(self._lonely, lonely.fate.value, " and ".join(lonely.roles), lonely.subject.id),
                )


def _part_of(event: CloudEvent, features: int) -> Part:
    role = role_of(event)
    assert role is not None, "an ingress hands on what has a part in a pair"
    time = request_time(event)
    rows = read_rows(event)
    if rows.shape[1] >= features:
        raise MalformedEvent(
            f"{role.value} has {rows.shape[1]} values a row: a pair of {features} features needs some of the other side"
        )
    payload = _Waiting(str(ServiceKey.of(event)), time, rows).to_payload()
    return Part(subject_of(event), role, parse_time(time), event.digest, payload)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """One side of a pair as it waits: the key of its service, its request's time, rows of shape (rows, values)."""

    key: str
    time: str
    rows: Matrix

    def to_payload(self) -> bytes:
        head = json.dumps([self.key, self.time, self.rows.shape[1]]).encode()
        return head + b"\n" + to_payload(self.rows)

    @classmethod
    def of_payload(cls, payload: bytes) -> "_Waiting":
        head, _, values = payload.partition(b"\n")
        key, time, width = json.loads(head)
        return cls(key, time, np.frombuffer(values, dtype="<f8").astype(np.float64).reshape(-1, width))
