"""Delivers the events of one Trigger: so many at once, each until it is settled.

Invariant: a delivery leaves the store only when the subscriber, or the dead-letter sink, has the event, or when it is
kept as a dead letter. Whatever else happens, a crash included, it is delivered again. Lanes share nothing but the
store and a budget of bytes, so that a subscriber that fails or hangs delays no other.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from wayside.eventing.broker.backlog import Backlog
from wayside.eventing.broker.budget import ByteBudget
from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.kept import tag
from wayside.eventing.broker.ordering import KeyOrder
from wayside.eventing.broker.routing import Arrival, Router, TtlSpent
from wayside.eventing.broker.store import BrokerStore, ReplyRefused
from wayside.eventing.broker.store_outage import LONGEST_PAUSE_S, StoreOutage
from wayside.eventing.broker.subscribers import Subscribers
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.turns import Turn
from wayside.eventing.broker.wire import BAD_REPLY, PREFER_REPLY, BadReply, Failure, dead_letter, forwarded, read_reply
from wayside.eventing.clock import Clock
from wayside.eventing.http.client import Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.outage import OutageNotice
from wayside.eventing.sink import SinkUnavailable
from wayside.eventing.triggers.delivery import Outcome, backoff_s, classify, retry_after_s
from wayside.eventing.triggers.manifests import Trigger

log = logging.getLogger("wayside.broker")
_NO_ROOM = 507


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of one broker share. `in_flight` bounds the deliveries at once of a Trigger that says no bound.

    `in_flight_bytes` bounds what all lanes hold in memory, beyond one delivery each: an event counts twice, for itself
    and for the request that carries it.
    """

    store: BrokerStore
    router: Router
    subscribers: Subscribers
    clock: Clock
    in_flight: int
    in_flight_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class _Again:
    """The delivery is due again after `pause_s`, and `attempts` count as made. `buried`: from now on a dead letter."""

    attempts: int
    pause_s: float
    buried: bool = False


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How an attempt at the subscriber ended: without `failure` it is delivered and settled."""

    failure: Failure | None = None
    retry: bool = False
    retry_after_s: float = 0.0


_DELIVERED = _Attempt()


class Lane:
    """One Trigger's deliveries. `trigger` may be replaced by one of the same name, order and bound: for later attempts.

    A delivery that waits for its next attempt gives up its place, so that one bad event does not hold up the others;
    where the Trigger is `ordered`, it holds up those of its key. Of the places, half at most are for such attempts, and
    for those at the dead-letter sink: however many of them hang, new events have the others.

    In memory are what the backlog and the order hold and what is under way: `in_flight` deliveries at most, and all of
    it within the lane's share of the `budget`, or one delivery.
    """

    def __init__(self, trigger: Trigger, around: Surroundings, budget: ByteBudget) -> None:
        self.trigger = trigger
        self.retries = 0
        self._around = around
        self._tag = tag(trigger.name)
        places = trigger.in_flight or around.in_flight
        self._slots = asyncio.Semaphore(places)
        self._places_to_retry = max(1, places // 2)
        self._backlog = Backlog(around.store, self._tag, budget)
        self._share = self._backlog.share
        self._order = KeyOrder(self._tag, self._share) if trigger.ordered else None
        self._outage = StoreOutage(trigger.name)
        self._sink_notice = OutageNotice(log, f"{trigger.name}: dead letters wait for their sink")
        self._flying = 0
        self._closing = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Deliveries that are under way now."""
        return self._flying

    def feed(self, turn: Turn) -> None:
        """An event was kept that this Trigger matched."""
        self._backlog.feed(turn)

    def look_again(self) -> None:
        """The store has deliveries that are to be made once more."""
        self._backlog.look_again()

    def rest(self) -> None:
        """To be called now and then, so that a Trigger that matches rarely does not stay behind."""
        self._backlog.rest()

    def close(self) -> None:
        """Begin no further delivery; `run` returns once those in flight have ended."""
        self._closing.set()
        self._backlog.wake()

    async def run(self) -> None:
        """Deliver until `close`. What waits in the store from before comes first."""
        try:
            async with asyncio.TaskGroup() as group:
                while not self._closing.is_set():
                    for turn in await self._next_turns():
                        await self._slots.acquire()
                        if self._closing.is_set():
                            return
                        self._places_to_retry -= turn.put_off
                        group.create_task(self._take(turn))
        finally:
            self._share.close()

    async def _next_turns(self) -> list[Turn]:
        """Those that may begin as soon as there are places for them."""
        if self._order is not None and not self._share.has_room:
            self._order.let_go()
        is_full = self._order is not None and self._order.full
        try:
            turns = await self._backlog.next_turns(self._places_to_retry, new=not is_full)
        except SinkUnavailable as exc:
            await self._pause(self._outage.note_failure(exc))
            return []
        admitted = [turn for turn in turns if self._order is None or turn.admitted or self._order.admit(turn)]
        following = [self._next_of_key(delivery) for delivery in self._backlog.take_lost()]
        return [turn for turn in admitted if self._may_begin(turn)] + [turn for turn in following if turn is not None]

    def _may_begin(self, turn: Turn) -> bool:
        """Not a dead letter from before this start: it waits with the others, and takes no place of a new one."""
        if turn.put_off or turn.waiting.failure is None:
            return True
        self._share.give(turn.size_bytes)
        self._backlog.put_off(turn, 0, 0.0, is_letter=True)
        return False

    async def _pause(self, pause_s: float) -> None:
        """Or shorter, where the lane is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closing.wait()

    async def _take(self, turn: Turn) -> None:
        """Deliver, then what waited for this one's key."""
        self._flying += 1
        following: Turn | None = turn
        try:
            while following is not None:
                following = self._end(following, await self._try(following))
                if self._closing.is_set():
                    return
        finally:
            self._flying -= 1
            self._slots.release()

    async def _try(self, turn: Turn) -> _Again | None:
        """One attempt. Where it is not the subscriber's fault that it is made again, it does not count."""
        try:
            again = await self._deliver(turn, turn.attempt)
        except SinkUnavailable as exc:
            return _Again(turn.attempt - 1, self._outage.note_failure(exc))
        except Exception:  # the edge of a delivery's task: nothing one event does may stop the lane
            log.exception("%s: delivery of event %d failed", self.trigger.name, turn.waiting.kept.position)
            return _Again(turn.attempt - 1, LONGEST_PAUSE_S)
        if again is None:
            self._outage.note_success()
        return again

    def _end(self, turn: Turn, again: _Again | None) -> Turn | None:
        """What may begin now that this attempt has ended."""
        self._share.give(turn.size_bytes)
        if turn.put_off:
            self._places_to_retry += 1
            self._backlog.wake()
        if again is not None:
            is_letter = again.buried or turn.waiting.failure is not None
            self._backlog.put_off(turn, again.attempts, again.pause_s, is_letter)
            return None
        delivery = turn.delivery(self._tag)
        self._backlog.finish(delivery)
        return self._next_of_key(delivery)

    def _next_of_key(self, delivery: Delivery) -> Turn | None:
        """What waited for this one, which is settled or lost, and is in memory."""
        if self._order is None:
            return None
        if self._order.full:
            self._backlog.wake()
        following = self._order.settle(delivery)
        if isinstance(following, Delivery):
            self._backlog.release(following)
            return None
        return following if following is not None and self._may_begin(following) else None

    async def _deliver(self, turn: Turn, attempt: int) -> _Again | None:
        """One attempt, at the subscriber or at the dead-letter sink; None where the delivery is settled."""
        if attempt > 1:
            self.retries += 1
        if turn.waiting.failure is not None:
            return await self._tell_dead_letter_sink(turn, turn.waiting.failure, attempt)
        ended = await self._tell_subscriber(turn, attempt)
        if ended.failure is None:
            return None
        spec = self.trigger.delivery
        if ended.retry and attempt <= spec.retry:
            return _Again(attempt, backoff_s(attempt, spec, ended.retry_after_s))
        return await self._bury(turn, ended.failure, attempt)

    async def _tell_subscriber(self, turn: Turn, attempt: int) -> _Attempt:
        spec, kept = self.trigger.delivery, turn.waiting.kept
        try:
            response = await self._around.subscribers.send(
                *(self.trigger.subscriber, kept.event, [PREFER_REPLY, *kept.forwards]),
                timeout_s=spec.timeout_s,
                structured=spec.structured,
            )
        except Unreachable as exc:
            return _Attempt(Failure.unreachable(exc), retry=True)
        outcome = classify(response.status)
        if outcome is Outcome.DELIVERED:
            return await self._settle(turn, attempt, response)
        asked_s = retry_after_s(response.status, response.header(b"retry-after"), self._around.clock.time_ns())
        return _Attempt(Failure.of(response), outcome is Outcome.RETRY, asked_s)

    async def _settle(self, turn: Turn, attempt: int, response: Response) -> _Attempt:
        """Store the reply and the delivery's end in one transaction."""
        try:
            reply = self._route_reply(turn.waiting, response)
        except BadReply as exc:
            return _Attempt(Failure.of(response, BAD_REPLY, str(exc)), retry=True)
        except TtlSpent as exc:
            return _Attempt(Failure.of(response, 400, f"its reply was refused: {exc}"))
        try:
            await self._around.store.settle(turn.delivery(self._tag), attempt, reply)
        except ReplyRefused as exc:
            return _Attempt(Failure.of(response, _NO_ROOM, str(exc)), retry=True)
        return _DELIVERED

    def _route_reply(self, waiting: Waiting, response: Response) -> Arrival | None:
        reply = read_reply(response, waiting.kept.ttl)
        if reply is None:
            return None
        return self._around.router.route(self.trigger.broker, reply, forwarded(response.headers))

    async def _bury(self, turn: Turn, failure: Failure, attempt: int) -> _Again | None:
        event = turn.waiting.kept.event
        log.warning(
            "%s: event %s of %s is a dead letter after %d attempts: %s",
            *(self.trigger.name, event.id, event.source, attempt, failure.reason),
        )
        if self.trigger.delivery.dead_letter_sink is None:
            await self._around.store.keep_dead_letter(turn.delivery(self._tag), failure, attempt)
            return None
        await self._around.store.give_up(turn.delivery(self._tag), failure, attempt)
        return _Again(attempts=0, pause_s=0.0, buried=True)

    async def _tell_dead_letter_sink(self, turn: Turn, failure: Failure, attempt: int) -> _Again | None:
        spec, delivery = self.trigger.delivery, turn.delivery(self._tag)
        if spec.dead_letter_sink is None:  # an earlier manifest named one
            await self._around.store.keep_dead_letter(delivery, failure, 0)
            return None
        letter = dead_letter(turn.waiting.kept.event, self.trigger.subscriber.text, failure)
        try:
            response = await self._around.subscribers.send(spec.dead_letter_sink, letter, [], spec.timeout_s)
            problem = f"answered {response.status}"
            if classify(response.status) is Outcome.DELIVERED:
                self._sink_notice.note_back(f"{self.trigger.name}: the dead-letter sink takes dead letters again")
                await self._around.store.settle_dead_lettered(delivery)
                return None
        except Unreachable as exc:
            problem = str(exc)
        self._sink_notice.note_away(problem)
        return _Again(attempt, min(backoff_s(attempt, spec), LONGEST_PAUSE_S))
