"""The drift service: the rows of events go into the log; full windows are tested; verdicts go to the outbox.

Invariant: 202 follows the commit that holds the rows, or the part that waits for its partner. Windows, verdict ids and
verdict bytes are a function of the log and the artifact alone: kill the process anywhere, start it again, and they come
out the same, each once.
"""

import asyncio
import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass

from wayside.detectors.drift.service.intake import Intake, SideIntake
from wayside.detectors.drift.service.outbox import Outbox
from wayside.detectors.drift.service.store import DriftStore
from wayside.detectors.drift.service.windows import Window, assemble, complete_windows, parse_key
from wayside.detectors.kinds.protocol import Sample, WindowDetector
from wayside.detectors.serving.answering import PLAIN, Answer, Wanted
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import Check
from wayside.eventing.verdict import DetectorIdentity, WindowVerdict
from wayside.eventing.vocabulary import ServiceKey

log = logging.getLogger("wayside.detectors.drift")
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class DriftDetector:
    """A window detector with its name and its window's size. After `retain_windows` a window's values are forgotten."""

    detector: WindowDetector
    identity: DetectorIdentity
    size: int
    retain_windows: int = 1000

    def judge(self, key: ServiceKey, window: Window) -> WindowVerdict:
        """The verdict on a window: drift where its p-value is at most alpha."""
        test = self.detector.test(Sample.untimed(window.rows))
        return WindowVerdict(
            key=key,
            first=window.first,
            end=window.end,
            time=window.time,
            is_drift=test.p_value <= self.identity.alpha,
            p_value=test.p_value,
            threshold=self.identity.alpha,
            distance=test.statistic,
            feature_distance=test.feature_distance.tolist(),
            feature_p_value=test.feature_p_value.tolist(),
            members=window.members,
        )


class DriftService:
    """Takes events (`answer`) and closes windows in a task of its own. Owns the store and the outbox.

    `types` are those of the events that it is given; `intake` says what of one becomes rows: its own, if not told
    otherwise.
    """

    may_drop = False  # what is stored is answered for, whether or not its client still listens

    def __init__(
        self,
        drift: DriftDetector,
        store: DriftStore,
        outbox: Outbox,
        metrics: DetectorMetrics,
        types: Container[str],
        intake: Intake | None = None,
    ) -> None:
        self.types = types
        self.metrics = metrics
        self._drift = drift
        self._store = store
        self._intake = intake or SideIntake(store, drift.detector.features)
        self._outbox = outbox
        self._changed: set[str] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def checks(self) -> Mapping[str, Check]:
        return {
            "store": lambda: self._store.running,
            "windows": lambda: self._task is not None and not self._task.done(),
            "outbox": lambda: self._outbox.running,
        }

    async def start(self) -> None:
        """Raises `ConfigurationError` where the store cannot be opened or holds rows of another width."""
        await self._store.start()
        self._changed.update(at.key for at in await self._store.progress())
        self._woken.set()
        await self._outbox.start()
        self._task = asyncio.create_task(self._run(), name="windows")

    async def stop(self) -> None:
        """Leave what is not done yet to the next start. May be called twice or before `start`."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])
        await self._outbox.stop()
        await self._store.stop()

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """Append an event's rows, or let it wait for its partner. Raises `MalformedEvent`: nothing was stored."""
        taken = await self._intake.take(event)
        if taken.rows:
            self.metrics.rows.inc(taken.rows)
            self._changed.add(taken.key)
            self._woken.set()
        return Answer(taken.outcome)

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            keys, self._changed = sorted(self._changed), set()
            for key in keys:
                await self._close_windows(key)

    async def _close_windows(self, key: str) -> None:
        try:
            at = await self._store.progress_of(key)
            for first, end in complete_windows(at.position, at.end, self._drift.size):
                await self._close_window(key, first, end)
        except Exception:  # the task's edge: a full disk or a damaged key may not stop the windows of other keys
            log.exception("windows of %s wait: trying again", key)
            asyncio.get_running_loop().call_later(_RETRY_S, self._try_again, key)

    def _try_again(self, key: str) -> None:
        self._changed.add(key)
        self._woken.set()

    async def _close_window(self, key: str, first: int, end: int) -> None:
        entries = await self._store.entries(key, first, end)
        window = assemble(entries, first, end, self._drift.detector.features)
        verdict = await asyncio.to_thread(self._drift.judge, parse_key(key), window)
        spent = max(0, end - self._drift.retain_windows * self._drift.size)
        await self._store.close_window(key, verdict.event(self._drift.identity), first, end, spent)
        self.metrics.windows.labels("drift" if verdict.is_drift else "no_drift").inc()
        self.metrics.batch_rows.observe(end - first)
        self._outbox.wake()
