"""The drift service: the rows of events go into the journal; complete windows are judged; verdicts go to the outbox.

Invariant: 202 follows the commit that holds the rows, or the part that waits for its partner. Windows, verdicts and
alerts are a function of the journal and the artifact alone, byte for byte: kill the process anywhere, start it again,
and they come out the same, each once.
"""

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.service.intake import Intake
from wayside.detectors.drift.service.lanes import Lanes
from wayside.detectors.drift.service.outbox import Outbox
from wayside.detectors.drift.service.replaced import Replaced
from wayside.detectors.drift.service.room import Room
from wayside.detectors.drift.service.store import DriftStore
from wayside.detectors.drift.service.view import view_of
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.drift.windowing.windowing import Windowing
from wayside.detectors.serving.answering import PLAIN, Answer, Wanted
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.eventing.errors import ConfigurationError, QueueFull
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import Check

log = logging.getLogger("wayside.detectors.drift")
_READ_BYTES = 16 << 20  # of the journal at once, when it starts
_OUTBOX_BYTES = 1 << 30  # of verdicts that the sink did not take yet, before events have to wait


def room_of(limits: WindowLimits) -> Room:
    """Room for the rows that windows are open on, and for as many again that wait to be judged."""
    return Room(2 * limits.key_bytes, 2 * limits.all_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class DriftParts:
    """What a drift service is made of. It owns the store, the outbox and the intake."""

    judge: WindowJudge
    store: DriftStore
    outbox: Outbox
    intake: Intake
    room: Room
    limits: WindowLimits


class DriftService:
    """Takes events of `types` (`answer`), folds their rows into windows and has these judged."""

    may_drop = False  # what is stored is answered for, whether or not its client still listens

    def __init__(
        self, parts: DriftParts, metrics: DetectorMetrics, types: Container[str], retry_s: float = 1.0
    ) -> None:
        self.types = types
        self.metrics = metrics
        self._store = parts.store
        self._outbox = parts.outbox
        self._intake = parts.intake
        self._windowing = Windowing(parts.judge.settings, parts.limits)
        self._lanes = Lanes(
            *(parts.judge, self._windowing, parts.store, parts.room, metrics, parts.outbox.wake), retry_s=retry_s
        )
        self._store.feed = self._lanes.take

    @property
    def checks(self) -> Mapping[str, Check]:
        return {
            "store": lambda: self._store.running,
            "windows": lambda: self._lanes.running,
            "outbox": lambda: self._outbox.running,
        }

    async def start(self) -> None:
        """Go on from what the store holds. Raises `ConfigurationError` where it cannot be opened, or is another's."""
        try:
            await self._store.start()
            self._tell_replaced(self._store.replaced)
            await self._fold_again()
        except ValueError as exc:
            await self._store.stop()
            raise ConfigurationError(
                f"the store's windows cannot be gone on with ({exc}): name another --data"
            ) from exc
        await self._outbox.start()
        self._lanes.start()

    def _tell_replaced(self, replaced: Replaced) -> None:
        if replaced.rows:
            log.warning("%d rows were in no closed window of the artifact before: they are given up", replaced.rows)
        self.metrics.alerts.labels("resolved").inc(replaced.alerts)

    async def _fold_again(self) -> None:
        for restored in await self._store.restore():
            self._lanes.restore(restored.kept, restored.held)
        folded, last = await self._store.standing()
        position = 0
        while arrivals := await self._store.unfolded(position, last, _READ_BYTES):
            for arrival in arrivals:
                self._lanes.take(arrival, evicts=arrival.position > folded)
            position = arrivals[-1].position

    async def stop(self) -> None:
        """Leave what is not done yet to the next start. May be called twice or before `start`."""
        await self._lanes.stop()
        await self._outbox.stop()
        await self._store.stop()
        self._intake.close()

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """Put an event's rows into the journal, or let it wait for its partner.

        Raises `MalformedEvent` for what can never be taken, `QueueFull` for what is too much now; `sqlite3.Error` where
        the disk fails. Nothing was stored then.
        """
        if self._store.unposted_bytes > _OUTBOX_BYTES:
            raise QueueFull(f"{self._store.unposted_bytes} bytes of verdicts wait for the sink")
        taken = await self._intake.take(event)
        if taken.rows:
            self.metrics.rows.inc(taken.rows)
        if taken.missing:
            self.metrics.missing_values.inc(taken.missing)
        return Answer(taken.outcome)

    def view(self) -> Mapping[str, Any]:
        """Every living key, and what the store holds beyond them."""
        keys = [view_of(at, *self._lanes.known(at.key)) for at in self._windowing.progress()]
        return {"keys": keys, "judging": self._lanes.busy, **self._store.view()}
