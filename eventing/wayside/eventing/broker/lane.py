"""Delivers the events of one Trigger: so many at once, each until it is settled.

Invariant: a delivery leaves the store only when the subscriber, or the dead-letter sink, has the event, or when it is
kept as a dead letter. Whatever else happens, crash included, it is delivered again. Lanes share nothing but the store,
so that a subscriber that fails or hangs delays no other.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from wayside.eventing.broker.delivery import Outcome, backoff_s, classify, retry_after_s
from wayside.eventing.broker.manifests import Trigger
from wayside.eventing.broker.names import TriggerName
from wayside.eventing.broker.routing import Arrival, Router, TtlSpent
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.wire import (
    BAD_REPLY,
    UNREACHABLE,
    BadReply,
    Failure,
    dead_letter_request,
    forwarded,
    read_reply,
    subscriber_request,
)
from wayside.eventing.clock import Clock
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.sink import SinkUnavailable

log = logging.getLogger("wayside.broker")
Wake = Callable[[Iterable[TriggerName]], None]
_PAGE_ROWS = 128
_RETRY_LIMIT = 1024
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of one broker share. `wake` tells lanes that the store has something new for them."""

    store: BrokerStore
    router: Router
    client: HttpClient
    clock: Clock
    wake: Wake


@dataclass(frozen=True, slots=True)
class _Failed:
    """An attempt that may go better later."""

    failure: Failure
    retry_after_s: float = 0.0


class Lane:
    """One Trigger's deliveries, `in_flight` at once. At most a page of events and those in flight are in memory.

    A delivery that waits for its next attempt gives up its place, so that one bad event does not hold the others;
    once very many wait for theirs, no new ones are begun.
    """

    def __init__(self, trigger: Trigger, surroundings: Surroundings, in_flight: int) -> None:
        self._trigger = trigger
        self._store = surroundings.store
        self._router = surroundings.router
        self._client = surroundings.client
        self._clock = surroundings.clock
        self._wake_lanes = surroundings.wake
        self._slots = asyncio.Semaphore(in_flight)
        self._changed = asyncio.Event()
        self._closing = False
        self._cursor = 0
        self._retries: list[tuple[float, int]] = []
        self._attempts: dict[int, int] = {}

    def wake(self) -> None:
        """Something changed: look into the store."""
        self._changed.set()

    def close(self) -> None:
        """Begin no further delivery; `run` returns once those in flight have ended."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Deliver until `close`. What waits in the store from before comes first."""
        key = self._store.key(self._trigger.name)
        async with asyncio.TaskGroup() as group:
            while not self._closing:
                for waiting in await self._next_page(key):
                    await self._slots.acquire()
                    if self._closing:
                        return
                    group.create_task(self._hold_slot(waiting))

    # what to deliver next

    async def _next_page(self, key: int) -> list[Waiting]:
        """Deliveries to begin now; empty where nothing came before the lane was woken or a retry fell due."""
        self._changed.clear()
        due = self._take_due()
        if due:
            return await self._load_due(key, due)
        if len(self._retries) < _RETRY_LIMIT:
            page = await self._store.page(key, self._cursor, _PAGE_ROWS)
            if page:
                self._cursor = page[-1].seq
                return page
        await self._wait_for_change()
        return []

    def _take_due(self) -> list[int]:
        now = asyncio.get_running_loop().time()
        due: list[int] = []
        while self._retries and self._retries[0][0] <= now and len(due) < _PAGE_ROWS:
            due.append(heapq.heappop(self._retries)[1])
        return due

    async def _load_due(self, key: int, due: list[int]) -> list[Waiting]:
        loaded = await self._store.some(key, due)
        for seq in set(due) - {waiting.seq for waiting in loaded}:
            heapq.heappush(self._retries, (0.0, seq))  # no room for it in this page
        return loaded

    async def _wait_for_change(self) -> None:
        now = asyncio.get_running_loop().time()
        wait_s = self._retries[0][0] - now if self._retries else None
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _try_later(self, waiting: Waiting, pause_s: float) -> None:
        heapq.heappush(self._retries, (asyncio.get_running_loop().time() + pause_s, waiting.seq))
        self._changed.set()

    # one delivery

    async def _hold_slot(self, waiting: Waiting) -> None:
        attempts = self._attempts.pop(waiting.seq, 0) + 1
        try:
            pause_s = await self._attempt(waiting, attempts)
        except SinkUnavailable as exc:
            log.warning("%s: a delivery cannot be settled, it is made again: %s", self._trigger.name, exc)
            pause_s = exc.retry_after_s or _LONGEST_PAUSE_S
        except Exception:  # the edge of a delivery's task: nothing one event does may stop the lane
            log.exception("%s: delivery of event %d failed", self._trigger.name, waiting.seq)
            pause_s = _LONGEST_PAUSE_S
        finally:
            self._slots.release()
        if pause_s is not None:
            self._attempts[waiting.seq] = attempts
            self._try_later(waiting, pause_s)

    async def _attempt(self, waiting: Waiting, attempts: int) -> float | None:
        """One attempt; seconds until the next one, or None where the delivery is settled."""
        if waiting.failure is not None:
            return await self._tell_dead_letter_sink(waiting, waiting.failure, attempts)
        failed = await self._tell_subscriber(waiting, attempts)
        if failed is None:
            return None
        spec = self._trigger.delivery
        if isinstance(failed, _Failed):
            if attempts <= spec.retry:
                return backoff_s(attempts, spec, failed.retry_after_s)
            failed = failed.failure
        return await self._bury(waiting, failed, attempts)

    async def _tell_subscriber(self, waiting: Waiting, attempts: int) -> _Failed | Failure | None:
        """None: delivered and settled. `_Failed`: try again. `Failure`: it is of no use."""
        spec = self._trigger.delivery
        headers, body = subscriber_request(waiting.event, waiting.forwards, spec.structured)
        url = self._trigger.subscriber
        try:
            response = await self._client.send(b"POST", url, headers, body, timeout_s=spec.timeout_s)
            outcome = classify(response.status)
            if outcome is Outcome.DELIVERED:
                await self._settle(waiting, attempts, self._route_reply(waiting, response))
                return None
        except Unreachable as exc:
            return _Failed(Failure(UNREACHABLE, str(exc), str(exc).encode()[:_ERROR_TEXT_BYTES]))
        except BadReply as exc:
            return _Failed(Failure(BAD_REPLY, str(exc), response.body[:_ERROR_TEXT_BYTES]))
        except TtlSpent as exc:
            return Failure(400, f"its reply was refused: {exc}")
        failure = Failure.of(response)
        if outcome is Outcome.PERMANENT:
            return failure
        return _Failed(
            failure, retry_after_s(response.status, response.header(b"retry-after"), self._clock.time_ns())
        )

    def _route_reply(self, waiting: Waiting, response: Response) -> Arrival | None:
        reply = read_reply(response, waiting.ttl)
        if reply is None:
            return None
        return self._router.route(self._trigger.broker, reply, forwarded(response.headers))

    async def _settle(self, waiting: Waiting, attempts: int, reply: Arrival | None) -> None:
        await self._store.settle(waiting, attempts, reply)
        if reply is not None:
            self._wake_lanes(reply.matched)

    async def _bury(self, waiting: Waiting, failure: Failure, attempts: int) -> float | None:
        log.warning(
            "%s: event %s of %s is a dead letter after %d attempts: %s",
            *(self._trigger.name, waiting.event.id, waiting.event.source, attempts, failure.reason),
        )
        if self._trigger.delivery.dead_letter_sink is None:
            await self._store.keep_dead_letter(waiting, failure, attempts)
            return None
        await self._store.give_up(waiting, failure, attempts)
        return 0.0

    async def _tell_dead_letter_sink(self, waiting: Waiting, failure: Failure, attempts: int) -> float | None:
        spec = self._trigger.delivery
        if spec.dead_letter_sink is None:  # the manifests named one when the delivery was given up
            await self._store.keep_dead_letter(waiting, failure, 0)
            return None
        headers, body = dead_letter_request(waiting.event, self._trigger.subscriber.text, failure)
        try:
            response = await self._client.send(
                b"POST", spec.dead_letter_sink, headers, body, timeout_s=spec.timeout_s
            )
            if classify(response.status) is Outcome.DELIVERED:
                await self._store.settle_dead_lettered(waiting)
                return None
            reason = f"answered {response.status}"
        except Unreachable as exc:
            reason = str(exc)
        pause_s = min(backoff_s(attempts, spec), _LONGEST_PAUSE_S)
        log.warning("%s: the dead-letter sink failed, again in %.1f s: %s", self._trigger.name, pause_s, reason)
        return pause_s
