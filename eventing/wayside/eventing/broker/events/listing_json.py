"""A listing as JSON: a page of whole events, or the answer of an admin port, which is one that clients can take.

Invariant: pure. An answer is never longer than `ANSWER_LIMIT_BYTES`, whatever the events hold: an event that has no
room is left to the next answer, and one that has none alone is shown in part, and says so.
Data comes as base64, exact; or, for people, as JSON where it is JSON that can be read, else as base64.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Any

from wayside.eventing.broker.events.listing import DeadLetter, Listed, Listing, Standing
from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent

ANSWER_LIMIT_BYTES = 15 << 20  # our own client takes 16 MiB
DATA_LIMIT_BYTES = 8 << 20
_REST_BYTES = 64 << 10  # what is beside the events
_EVENT_BYTES = ANSWER_LIMIT_BYTES - _REST_BYTES
_SEPARATOR = b", "
# more than the broker's door lets in: what was kept before it had a limit
_ATTRIBUTES_CHARACTERS = 128 << 10
_SHOWN_ATTRIBUTES, _SHOWN_CHARACTERS = 100, 256
_SHOWN_DELIVERIES, _REASON_CHARACTERS = 500, 1_000


class DataForm(Enum):
    """How an event's data is shown, if at all."""

    NONE = "none"
    BASE64 = "base64"
    JSON = "json"


def listing_view(listing: Listing, form: DataForm) -> dict[str, Any]:
    """The page as JSON values, of whole events however large."""
    events = [_with_data(event_view(one), one.kept.event, form) for one in listing.events]
    return {"events": events, **_place(listing, len(events))}


def listing_answer(listing: Listing, form: DataForm, also: Mapping[str, str | None]) -> bytes:
    """The page as JSON, with the fields `also`: of its events as many as there is room for, and one at least.

    Where some have no room, `last` and `done` say where to go on, as where there are more in the log.
    """
    events: list[bytes] = []
    left_bytes = _EVENT_BYTES
    for one in listing.events:
        text = _event_answer(one, form)
        left_bytes -= len(text) + len(_SEPARATOR)
        if events and left_bytes < 0:
            break
        events.append(text)
    rest = _encode({**_place(listing, len(events)), **also})
    return b'{"events": [' + _SEPARATOR.join(events) + b"], " + rest.removeprefix(b"{")


def _place(listing: Listing, shown: int) -> Mapping[str, Any]:
    """Where a page ends that shows so many of the events, and what is damaged up to there."""
    if shown == len(listing.events):
        return {"damaged": listing.damaged, "last": listing.last, "newest": listing.newest, "done": listing.done}
    last, following = (one.kept.position for one in listing.events[shown - 1 : shown + 1])
    damaged = [position for position in listing.damaged if (position > last) is not (following > last)]
    return {"damaged": damaged, "last": last, "newest": listing.newest, "done": False}


def event_view(listed: Listed) -> dict[str, Any]:
    """One event: where it lies, when it came, how large its data is, its attributes, and how it stands."""
    event = listed.kept.event
    return {
        "position": listed.kept.position,
        "received": format_time(listed.kept.received_ns),
        "broker": str(listed.broker),
        "size": len(event.data),
        "deliveries": [_delivery(one) for one in listed.deliveries],
        "event": dict(event.attributes()),
    }


def _delivery(one: Standing) -> Mapping[str, Any]:
    view = {"trigger": str(one.trigger), "state": one.state.value}
    return view if one.dead_letter is None else {**view, **_dead_letter(one.dead_letter)}


def _dead_letter(letter: DeadLetter) -> Mapping[str, Any]:
    return {
        "since": format_time(letter.time_ns),
        "attempts": letter.attempts,
        "code": letter.code,
        "reason": letter.reason[:_REASON_CHARACTERS],
    }


def _event_answer(listed: Listed, form: DataForm) -> bytes:
    """One event in `_EVENT_BYTES` at most."""
    event = listed.kept.event
    view = _with_fewer_deliveries(_with_attributes_cut(event_view(listed)))
    if form is DataForm.NONE or len(event.data) <= DATA_LIMIT_BYTES:
        text = _encode(_with_data(view, event, form))
        if len(text) <= _EVENT_BYTES:
            return text
    return _encode({**view, "data_left_out": True})


def _with_attributes_cut(view: dict[str, Any]) -> dict[str, Any]:
    attributes: Mapping[str, str] = view["event"]
    if sum(len(name) + len(value) for name, value in attributes.items()) <= _ATTRIBUTES_CHARACTERS:
        return view
    first = islice(attributes.items(), _SHOWN_ATTRIBUTES)
    shown = {name[:_SHOWN_CHARACTERS]: value[:_SHOWN_CHARACTERS] for name, value in first}
    return {**view, "event": shown, "attributes_cut": True}


def _with_fewer_deliveries(view: dict[str, Any]) -> dict[str, Any]:
    deliveries: Sequence[Mapping[str, Any]] = view["deliveries"]
    more = len(deliveries) - _SHOWN_DELIVERIES
    if more <= 0:
        return view
    return {**view, "deliveries": deliveries[:_SHOWN_DELIVERIES], "deliveries_left_out": more}


def _with_data(view: dict[str, Any], event: CloudEvent, form: DataForm) -> dict[str, Any]:
    if form is DataForm.NONE or not event.data:
        return view
    return {**view, "event": {**view["event"], **_data(event.data, form)}}


def _data(data: bytes, form: DataForm) -> Mapping[str, Any]:
    if form is DataForm.JSON:
        try:
            value = json.loads(data)
            json.dumps([[[[value]]]], allow_nan=False)  # also where it stands in a page it can be written
        except (ValueError, RecursionError):
            pass
        else:
            return {"data": value}
    return {"data_base64": base64.b64encode(data).decode()}


def _encode(view: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(view, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # JSON can escape a lone surrogate, and no encoding carry it
        return json.dumps(view).encode()
