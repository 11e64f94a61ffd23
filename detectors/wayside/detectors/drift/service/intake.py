"""How events become arrivals: one event's rows as they are, or a request's beside its response's.

Invariant: when `take` returns, what the event brought is on disk: its rows in the journal, or its part among those that
wait. What cannot be read, or does not fit its partner, is refused before anything of it is stored.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from wayside.detectors.drift.service.journal import Incoming
from wayside.detectors.drift.service.reading import RowReader, check_names, event_time
from wayside.detectors.drift.service.room import Room
from wayside.detectors.drift.service.store import DriftStore
from wayside.detectors.drift.windowing.keys import key_of
from wayside.detectors.drift.windowing.values import WindowKey
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.row_service import is_large_body
from wayside.detectors.tabular.event_rows import beside, read_rows
from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told
from wayside.eventing.pairs.join import Fate, JoinSettings, Part, Taken
from wayside.eventing.pairs.subject import Role, Subject, role_of, subject_of
from wayside.eventing.vocabulary import CONTENT_ENCODING, ServiceKey

log = logging.getLogger("wayside.detectors.drift")
R = TypeVar("R")
_UNPAIRED = (Fate.LATE, Fate.DUPLICATE, Fate.CONFLICT, Fate.OVERFLOW)


@dataclass(frozen=True, slots=True)
class Intaken:
    """What became of an event: the outcome to count, and the rows that came into the journal by it."""

    outcome: str
    rows: int = 0
    missing: int = 0


class Intake(Protocol):
    """Takes the events of one detector into its store."""

    async def take(self, event: CloudEvent) -> Intaken:
        """Raises `MalformedEvent` and `QueueFull`, before anything is stored."""
        ...

    def close(self) -> None:
        """May be called twice."""


class SideIntake(Intake):
    """The rows of each event as they are: requests', responses', verdicts' or feedback's."""

    def __init__(self, store: DriftStore, reader: RowReader, room: Room, clock: Clock | None = None) -> None:
        self._store = store
        self._reader = reader
        self._room = room
        self._clock = clock or SystemClock()
        self._large = _Apart()

    async def take(self, event: CloudEvent) -> Intaken:
        incoming = await self._large.read(event, lambda: self._reader.read(event, self._clock.time_ns()))
        size = incoming.rows.nbytes
        self._room.admit(incoming.key, size)
        try:
            outcome = (await self._store.append(incoming, event)).outcome
        finally:
            self._room.withdraw(incoming.key, size)  # as an arrival it has been told to the store's feed
        return _intaken(outcome, incoming.rows) if outcome == "scored" else Intaken(outcome)

    def close(self) -> None:
        self._large.close()


class PairIntake(Intake):
    """The rows of a request beside those of its response, once both have come: at the request's time, under its key.

    Raises `ConfigurationError` where columns are categories: a pair's are known by their order alone.
    """

    def __init__(
        self,
        store: DriftStore,
        reader: RowReader,
        room: Room,
        settings: JoinSettings,
        metrics: DetectorMetrics,
        clock: Clock | None = None,
    ) -> None:
        if reader.schema.categorical:
            raise ConfigurationError("--on pair reads numbers by their order, and the detector has categories")
        self._store = store
        self._reader = reader
        self._features = len(reader.schema.columns)
        self._room = room
        self._settings = settings
        self._unpaired = metrics.unpaired
        self._clock = clock or SystemClock()
        self._large = _Apart()
        self._lonely = 0

    async def take(self, event: CloudEvent) -> Intaken:
        now_ns = self._clock.time_ns()
        part = await self._large.read(event, lambda: self._part_of(event, now_ns))
        key, _ = key_of(event, self._reader.compared)
        self._room.check(key)
        whole = partial(self._whole, now_ns)
        taken, appended = await self._store.append_part(part, event, self._settings, now_ns, whole)
        self._count(part.role, taken)
        if appended is None:
            return Intaken(taken.fate.value)
        if appended.arrival is None:
            return Intaken(appended.outcome)
        return _intaken(appended.outcome, appended.arrival.rows)

    def close(self) -> None:
        self._large.close()

    def _part_of(self, event: CloudEvent, now_ns: int) -> Part:
        role = role_of(event)
        assert role is not None, "an ingress hands on what has a part in a pair"
        subject = subject_of(event)
        check_names(event, subject)
        time, time_ns = event_time(event, now_ns)
        rows = read_rows(event)
        if rows.shape[1] >= self._features:
            raise MalformedEvent(
                f"{role.value} has {rows.shape[1]} values a row: a pair of {self._features} features needs some of the"
                " other side"
            )
        key, group = key_of(event, self._reader.compared)
        return Part(subject, role, time_ns, event.digest, _Waiting(key, group, time, time_ns, rows).packed())

    def _whole(self, now_ns: int, subject: Subject, request: bytes, response: bytes) -> Incoming:
        """The pair as one, come when the later of them did. Raises `MalformedEvent` where the two do not fit."""
        asked, answered = _Waiting.unpacked(request), _Waiting.unpacked(response)
        rows = self._reader.checked(beside(asked.rows, answered.rows, self._features))
        part = (subject.source, subject.id, "pair")
        head = (asked.key, subject.source, subject.id, part, b"", asked.time, asked.time_ns, rows)
        return Incoming(*head, came_ns=now_ns, group=asked.group)

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


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """One side of a pair as it waits: whose it is, its request's time, rows of shape (rows, values)."""

    key: WindowKey
    group: str
    time: str
    time_ns: int
    rows: Matrix

    def packed(self) -> bytes:
        service = self.key.service
        names = [service.namespace, service.service, service.component, service.endpoint, self.key.revision]
        head = json.dumps([*names, self.group, self.time, self.time_ns, self.rows.shape[1]]).encode()
        return head + b"\n" + np.ascontiguousarray(self.rows, dtype="<f8").tobytes()

    @classmethod
    def unpacked(cls, payload: bytes) -> "_Waiting":
        head, _, values = payload.partition(b"\n")
        *service, revision, group, time, time_ns, width = json.loads(head)
        rows = np.frombuffer(values, dtype="<f8").astype(np.float64).reshape(-1, width)
        return cls(WindowKey(ServiceKey(*service), revision), group, time, time_ns, rows)


class _Apart:
    """Reads what is large in a thread, so that small events do not wait for it; what is small, at once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-events")

    async def read(self, event: CloudEvent, work: Callable[[], R]) -> R:
        if not is_large_body(event.data, event.extensions.get(CONTENT_ENCODING)):
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def _intaken(outcome: str, rows: Matrix) -> Intaken:
    return Intaken(outcome, len(rows), int(np.count_nonzero(np.isnan(rows))))
