"""Delivers the events of one Trigger: so many at once, each until it is settled.

Invariant: a delivery leaves the store only when the subscriber, or the dead-letter sink, has the event, or when it is
kept as a dead letter. Whatever else happens, a crash included, it is delivered again. Lanes share nothing but the
store, so that a subscriber that fails or hangs delays no other.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wayside.eventing.broker.backlog import Backlog, Turn
from wayside.eventing.broker.delivery import Outcome, backoff_s, classify, retry_after_s
from wayside.eventing.broker.manifests import Trigger
from wayside.eventing.broker.names import TriggerName
from wayside.eventing.broker.routing import Arrival, Router, TtlSpent
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.wire import (
    BAD_REPLY,
    BadReply,
    Failure,
    dead_letter_request,
    forwarded,
    read_reply,
    subscriber_request,
)
from wayside.eventing.clock import Clock
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Headers, Response
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable

log = logging.getLogger("wayside.broker")
Wake = Callable[[Iterable[TriggerName]], None]
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
class _Again:
    """The delivery is due again after `pause_s`, and `attempts` count as made."""

    attempts: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How an attempt at the subscriber ended: without `failure` it is delivered and settled."""

    failure: Failure | None = None
    retry: bool = False
    retry_after_s: float = 0.0


class Lane:
    """One Trigger's deliveries, `in_flight` at once.

    A delivery that waits for its next attempt gives up its place, so that one bad event does not hold up the others.
    """

    def __init__(self, trigger: Trigger, surroundings: Surroundings, in_flight: int) -> None:
        self._trigger = trigger
        self._around = surroundings
        self._slots = asyncio.Semaphore(in_flight)
        self._backlog = Backlog(surroundings.store, surroundings.store.key(trigger.name))
        self._closing = False

    def wake(self) -> None:
        """The store has something new for this Trigger."""
        self._backlog.wake()

    def close(self) -> None:
        """Begin no further delivery; `run` returns once those in flight have ended."""
        self._closing = True
        self._backlog.wake()

    async def run(self) -> None:
        """Deliver until `close`. What waits in the store from before comes first."""
        async with asyncio.TaskGroup() as group:
            while not self._closing:
                for turn in await self._next_turns():
                    await self._slots.acquire()
                    if self._closing:
                        return
                    group.create_task(self._take(turn))

    async def _next_turns(self) -> list[Turn]:
        try:
            return await self._backlog.next_turns()
        except SinkUnavailable as exc:
            log.warning("%s: waits for the store: %s", self._trigger.name, exc)
            await asyncio.sleep(exc.retry_after_s or _LONGEST_PAUSE_S)
            return []

    async def _take(self, turn: Turn) -> None:
        try:
            again = await self._deliver(turn.waiting, turn.attempt)
        except SinkUnavailable as exc:
            log.warning("%s: a delivery cannot be settled and is made again: %s", self._trigger.name, exc)
            again = _Again(turn.attempt, exc.retry_after_s or _LONGEST_PAUSE_S)
        except Exception:  # the edge of a delivery's task: nothing one event does may stop the lane
            log.exception("%s: delivery of event %d failed", self._trigger.name, turn.waiting.seq)
            again = _Again(turn.attempt, _LONGEST_PAUSE_S)
        finally:
            self._slots.release()
        if again is not None:
            self._backlog.put_off(turn, again.attempts, again.pause_s)

    async def _deliver(self, waiting: Waiting, attempt: int) -> _Again | None:
        """One attempt, at the subscriber or at the dead-letter sink; None where the delivery is settled."""
        if waiting.failure is not None:
            return await self._tell_dead_letter_sink(waiting, waiting.failure, attempt)
        ended = await self._tell_subscriber(waiting, attempt)
        if ended.failure is None:
            return None
        spec = self._trigger.delivery
        if ended.retry and attempt <= spec.retry:
            return _Again(attempt, backoff_s(attempt, spec, ended.retry_after_s))
        return await self._bury(waiting, ended.failure, attempt)

    async def _tell_subscriber(self, waiting: Waiting, attempt: int) -> _Attempt:
        spec = self._trigger.delivery
        headers, body = subscriber_request(waiting.event, waiting.forwards, spec.structured)
        try:
            response = await self._post(self._trigger.subscriber, headers, body)
        except Unreachable as exc:
            return _Attempt(Failure.unreachable(exc), retry=True)
        outcome = classify(response.status)
        if outcome is Outcome.DELIVERED:
            return await self._settle(waiting, attempt, response)
        asked_s = retry_after_s(response.status, response.header(b"retry-after"), self._around.clock.time_ns())
        return _Attempt(Failure.of(response), outcome is Outcome.RETRY, asked_s)

    async def _settle(self, waiting: Waiting, attempt: int, response: Response) -> _Attempt:
        """Store the reply and the delivery's end in one transaction, then pass the reply on."""
        try:
            reply = self._route_reply(waiting, response)
        except BadReply as exc:
            return _Attempt(Failure.of(response, BAD_REPLY, str(exc)), retry=True)
        except TtlSpent as exc:
            return _Attempt(Failure.of(response, 400, f"its reply was refused: {exc}"))
        await self._around.store.settle(waiting, attempt, reply)
        if reply is not None:
            self._around.wake(reply.matched)
        return _Attempt()

    def _route_reply(self, waiting: Waiting, response: Response) -> Arrival | None:
        reply = read_reply(response, waiting.ttl)
        if reply is None:
            return None
        return self._around.router.route(self._trigger.broker, reply, forwarded(response.headers))

    async def _bury(self, waiting: Waiting, failure: Failure, attempt: int) -> _Again | None:
        log.warning(
            "%s: event %s of %s is a dead letter after %d attempts: %s",
            *(self._trigger.name, waiting.event.id, waiting.event.source, attempt, failure.reason),
        )
        if self._trigger.delivery.dead_letter_sink is None:
            await self._around.store.keep_dead_letter(waiting, failure, attempt)
            return None
        await self._around.store.give_up(waiting, failure, attempt)
        return _Again(attempts=0, pause_s=0.0)

    async def _tell_dead_letter_sink(self, waiting: Waiting, failure: Failure, attempt: int) -> _Again | None:
        spec = self._trigger.delivery
        if spec.dead_letter_sink is None:  # an earlier manifest named one
            await self._around.store.keep_dead_letter(waiting, failure, 0)
            return None
        headers, body = dead_letter_request(waiting.event, self._trigger.subscriber.text, failure)
        try:
            response = await self._post(spec.dead_letter_sink, headers, body)
            problem = f"answered {response.status}"
            if classify(response.status) is Outcome.DELIVERED:
                await self._around.store.settle_dead_lettered(waiting)
                return None
        except Unreachable as exc:
            problem = str(exc)
        pause_s = min(backoff_s(attempt, spec), _LONGEST_PAUSE_S)
        log.warning("%s: the dead-letter sink failed, again in %.1f s: %s", self._trigger.name, pause_s, problem)
        return _Again(attempt, pause_s)

    async def _post(self, url: Url, headers: Headers, body: bytes) -> Response:
        return await self._around.client.send(b"POST", url, headers, body, timeout_s=self._trigger.delivery.timeout_s)
