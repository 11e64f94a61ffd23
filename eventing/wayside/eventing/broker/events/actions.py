"""What people ask of a broker that runs: to show its events, to replay some, to redeliver dead letters.

Invariant: each call is a bounded step, so that deliveries and appends go on beside it; whoever asks goes on from the
`last` of its answer until it says `done`. Whatever is to be made again is on disk when the answer comes.
"""

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from wayside.eventing.broker import kept
from wayside.eventing.broker.dispatcher import Dispatcher
from wayside.eventing.broker.events import again
from wayside.eventing.broker.events.again import Redelivered, Replayed, Sought
from wayside.eventing.broker.events.asked import Asked
from wayside.eventing.broker.events.instants import parse_instant
from wayside.eventing.broker.events.listing import Selection, known_triggers, read_listing
from wayside.eventing.broker.events.listing_json import DataForm, listing_answer
from wayside.eventing.broker.events.scan import ANY_TIME, Range, Span
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import Clock, format_time
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.admin import Action, BadRequest, Query
from wayside.eventing.triggers.names import TriggerName
from wayside.eventing.triggers.trigger_choice import choose_trigger

R = TypeVar("R")
STEP_ROWS = 1_000
LISTED_ROWS = 100
LAST_POSITION = (1 << 63) - 1


class EventActions:
    """The queries and actions of one broker's admin port. Raise `BadRequest`, and `SinkUnavailable` from the store."""

    def __init__(self, store: BrokerStore, dispatcher: Dispatcher, clock: Clock) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._changing = set[asyncio.Task[Any]]()

    @property
    def queries(self) -> Mapping[str, Query]:
        return {"/events": self.events}

    @property
    def actions(self) -> Mapping[str, Action]:
        return {"/replay": self.replay, "/redeliver": self.redeliver}

    async def events(self, query: Mapping[str, str]) -> bytes:
        """A page of the events that are kept, no longer than clients take, whatever is in them."""
        asked = Asked(query)
        span, order = self._take_span(asked), asked.take_choice("order", ("oldest", "newest"))
        after, limit = _take_after(asked), asked.take_whole("limit", 1, STEP_ROWS)
        form = DataForm(asked.take_choice("data", [form.value for form in DataForm]))
        text = asked.take_text("trigger")
        type_, source = asked.take_text("type"), asked.take_text("source")
        dead_letters = asked.take_flag("dead_letters")
        asked.end()
        trigger = None if text is None else _choose(text, await self._store.look(known_triggers))
        chosen = Selection(trigger, type_, source, dead_letters)
        within = Range(span, after, limit or LISTED_ROWS, order == "newest")
        listing = await self._store.look(lambda connection: read_listing(connection, within, chosen))
        return await asyncio.to_thread(listing_answer, listing, form, _span_view(span))

    async def replay(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Deliver the next of its broker's events that a Trigger's filter passes now to it once more."""
        asked = Asked(body)
        name, span = self._take_trigger(asked), self._take_span(asked, until_now=True)
        after, limit = _take_after(asked), asked.take_whole("limit", 1, STEP_ROWS)
        dry_run = asked.take_flag("dry_run")
        asked.end()
        if body.get("from") is None:
            raise BadRequest("from: is missing: say since when events are to be replayed, such as 2h")
        trigger, within = self._dispatcher.lanes[name].trigger, Range(span, after, limit or STEP_ROWS)
        found = await self._store.look(
            lambda connection: again.seek(connection, trigger.broker, trigger.filter.passes, within)
        )
        made = await self._make(name, found.positions, dry_run)
        return {"trigger": str(name), **_span_view(span), **_replay_view(found, made)}

    async def _make(self, name: TriggerName, positions: Sequence[int], dry_run: bool) -> Replayed:
        if dry_run:
            return await self._store.look(lambda connection: again.foresee(connection, name, positions))

        async def make() -> Replayed:
            made = await self._store.change(lambda connection: again.replay(connection, name, positions))
            self._dispatcher.look_again([name])
            return made

        return await self._finish(make())

    async def redeliver(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Deliver dead letters once more: of one Trigger or of all that there are now, all of them or some."""
        asked = Asked(body)
        tags = {kept.tag(name): name for name in self._take_triggers(asked)}
        positions = asked.take_positions("positions", STEP_ROWS)
        after, limit = _take_after(asked) or 0, asked.take_whole("limit", 1, STEP_ROWS) or STEP_ROWS
        asked.end()

        async def make() -> Redelivered:
            made = await self._store.change(
                lambda connection: again.redeliver(connection, list(tags), positions, after, limit)
            )
            self._dispatcher.look_again(tags[tag] for tag in made.counts)
            return made

        made = await self._finish(make())
        by_name = {str(tags[tag]): number for tag, number in made.counts.items()}
        return {"redelivered": sum(by_name.values()), "triggers": by_name, "last": made.last, "done": made.done}

    async def _finish(self, change: Coroutine[Any, Any, R]) -> R:
        """To its end, though whoever asked hangs up: a lane that is not told would leave what waits until a restart."""
        task = asyncio.create_task(change)
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)
        return await asyncio.shield(task)

    def _take_trigger(self, asked: Asked) -> TriggerName:
        text = asked.take_text("trigger")
        if text is None:
            raise BadRequest("trigger: is missing")
        return _choose(text, self._dispatcher.lanes.keys())

    def _take_triggers(self, asked: Asked) -> Collection[TriggerName]:
        """One, or all that there are now: a Trigger that is gone would let its dead letters wait for ever."""
        text, names = asked.take_text("trigger"), self._dispatcher.lanes.keys()
        return names if text is None else [_choose(text, names)]

    def _take_span(self, asked: Asked, until_now: bool = False) -> Span:
        now_ns = self._clock.time_ns()
        first, end = asked.take_text("from"), asked.take_text("to")
        last_ns = now_ns if until_now else ANY_TIME.to_ns
        try:
            span = Span(
                ANY_TIME.from_ns if first is None else parse_instant(first, now_ns),
                last_ns if end is None else parse_instant(end, now_ns),
            )
        except ConfigurationError as exc:
            raise BadRequest(str(exc)) from exc
        if span.from_ns >= span.to_ns:
            raise BadRequest("from: is not before to, so that nothing lies between them")
        return span


def _take_after(asked: Asked) -> int | None:
    return asked.take_whole("after", 0, LAST_POSITION)


def _choose(text: str, names: Collection[TriggerName]) -> TriggerName:
    try:
        return choose_trigger(text, names)
    except ConfigurationError as exc:
        raise BadRequest(str(exc)) from exc


def _span_view(span: Span) -> Mapping[str, str | None]:
    """As of this answer: an age is a time, with which to go on."""
    return {
        "from": None if span.from_ns == ANY_TIME.from_ns else format_time(span.from_ns),
        "to": None if span.to_ns == ANY_TIME.to_ns else format_time(span.to_ns),
    }


def _replay_view(found: Sought, made: Replayed) -> Mapping[str, Any]:
    """What became of each event that was looked at: the counts from `replayed` on add up to `looked`."""
    return {
        "looked": found.looked,
        **made._asdict(),
        "filtered": found.looked - found.damaged - len(found.positions),
        "forgotten": len(found.positions) - sum(made),
        "damaged": found.damaged,
        "last": found.last,
        "done": found.done,
    }
