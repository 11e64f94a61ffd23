"""Reads a running composition: admin views and metrics over HTTP, Kafka's offsets, records from where they are kept.

Invariant: reading changes nothing, and what cannot be reached is an error that says which service did not answer.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable
from wayside.local.balance import Balance, Replica
from wayside.local.carriers import Carried, kafka_carrier
from wayside.local.composition import LOOPBACK, Composition, Detector, Listener
from wayside.local.replica import compare
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
from wayside.sinks.embedded.reader import RecordCounts, RecordReader

_TIMEOUT_S = 10.0
_SETTLE_EVERY_S = 0.5  # far longer than a window of the demo takes to be judged


class NotReadable(WaysideError):
    """A service did not answer, or not with what its admin port promises."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Rows of the drift detector's journal, as `Balance` has them. `outbox` counts what is yet to be posted, `judging`
    the keys with windows that are yet to be judged."""

    in_windows: int
    open: int
    late: int
    left_out: int
    outbox: int
    judging: int = 0


@dataclass(frozen=True, slots=True)
class _Standing:
    """Events that are on their way, and all that were ever asked of the carrier; rows in windows."""

    on_their_way: int
    matched: int
    windows: Windows


class Readings:
    """Reads one composition. `drift` names its window detector. Close it with `close`.

    `elsewhere` is a second store of records, which a balance compares with the embedded one.
    """

    def __init__(self, composition: Composition, drift: str, elsewhere: ElasticsearchSettings | None = None) -> None:
        self._composition = composition
        self._elsewhere = elsewhere
        self._drift = next(detector for detector in composition.detectors if detector.name == drift)
        self._client = HttpClient()
        self._kafka = kafka_carrier(composition) if composition.kafka else None

    async def close(self) -> None:
        await self._client.close()

    async def balance(self, answered: int) -> Balance:
        """The balance now, against the rows that a client says were answered 200 through the logger."""
        windows, carried, dropped = await asyncio.gather(self.windows(), self.carried(), self.dropped())
        counts = await asyncio.to_thread(self._record_counts)
        return Balance(
            answered=answered,
            recorded=counts.answered,
            scored=counts.scored,
            in_windows=windows.in_windows,
            open=windows.open,
            unanswered=counts.unanswered,
            late=windows.late,
            left_out=windows.left_out,
            dropped=dropped,
            waiting=await self.in_flight() + windows.outbox + carried.waiting,
            duplicates=carried.duplicates + counts.duplicates,
            conflicts=carried.conflicts + counts.conflicts,
            triggers=carried.triggers,
            replicas=await self.replicas(),
        )

    async def wait_settled(self, timeout_s: float) -> bool:
        """Wait until nothing is on its way and no window is being judged; False where nothing at all happened for
        `timeout_s` before that: on a busy machine events are late, not lost."""
        loop = asyncio.get_running_loop()
        before, deadline = await self._standing(), loop.time() + timeout_s
        while loop.time() < deadline:
            await asyncio.sleep(_SETTLE_EVERY_S)
            now = await self._standing()
            if now is not None and now == before and not now.on_their_way:
                return True
            if now is not None and now != before:
                before, deadline = now, loop.time() + timeout_s
        return False

    async def _standing(self) -> _Standing | None:
        """How far everything is; None where a service does not say."""
        try:
            in_flight, windows = await self.in_flight(), await self.windows()
            carried = await self.carried()  # the last: a verdict from the outbox is a new event to the carrier
        except NotReadable:
            return None
        on_their_way = in_flight + windows.outbox + windows.judging + carried.waiting
        return _Standing(on_their_way, sum(trigger.matched for trigger in carried.triggers), windows)

    async def windows(self) -> Windows:
        """What the drift detector's journal holds."""
        view = await self._view(self._drift, "/windows")

        def rows(*names: str) -> int:
            return sum(key[name] for key in view["keys"] for name in names)

        left_out = rows("overflow", "evicted")
        return Windows(rows("in_windows"), rows("open"), rows("late"), left_out, view["outbox"], view["judging"])

    async def carried(self) -> Carried:
        """What the broker's triggers, or Kafka's consumer groups, were given."""
        try:
            if self._kafka is not None:
                return await self._kafka.read()
            return Carried.of_view(await self._get(self._composition.broker, "/triggers"))
        except SinkUnavailable as exc:
            raise NotReadable(str(exc)) from exc

    async def replicas(self) -> list[Replica]:
        """The records in Elasticsearch, if they are kept there too, compared with the embedded store's."""
        if self._elsewhere is None:
            return []
        try:
            return [await compare(self._composition.records_file, self._elsewhere)]
        except SinkUnavailable as exc:
            raise NotReadable(str(exc)) from exc

    async def dropped(self) -> int:
        """Events that the logger has dropped since it started, for whatever reason."""
        return int(sum((await self.logger_metric("wayside_logger_events_dropped_total")).values()))

    async def in_flight(self) -> int:
        """Events that the logger has captured and not yet sent or dropped."""
        captured, sent, dropped = [
            sum((await self.logger_metric(f"wayside_logger_events_{name}_total")).values())
            for name in ("captured", "sent", "dropped")
        ]
        return int(captured - sent - dropped)

    async def logger_metric(self, name: str) -> Mapping[tuple[str, ...], float]:
        """A metric of the logger's by its label values."""
        text = await self._get(self._composition.logger, "/metrics")
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name == name
        }

    def _record_counts(self) -> RecordCounts:
        reader = RecordReader(self._composition.records_file)
        try:
            return reader.counts()
        finally:
            reader.close()

    async def _view(self, listener: Listener | Detector, path: str) -> Mapping[str, Any]:
        view: Mapping[str, Any] = json.loads(await self._get(listener, path))
        return view

    async def _get(self, listener: Listener | Detector, path: str) -> bytes:
        url = Url.parse(f"http://{LOOPBACK}:{listener.admin_port}{path}")
        try:
            response = await self._client.send(b"GET", url, [], timeout_s=_TIMEOUT_S)
        except (Unreachable, SinkUnavailable) as exc:
            raise NotReadable(str(exc)) from exc
        if response.status != 200:
            raise NotReadable(f"{url.text} answered {response.status}: {response.body[:200]!r}")
        return response.body
