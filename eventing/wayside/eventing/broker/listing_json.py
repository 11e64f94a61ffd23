"""A listing as JSON, for the admin port and for the command.

Invariant: pure. Data comes as base64, exact; or, for people, as JSON where it is JSON that can be read, else as base64.
Data of more than `DATA_LIMIT_BYTES` is left out and said to be, so that a page stays within what clients take.
"""

import base64
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from wayside.eventing.broker.listing import DeadLetter, Listed, Listing, Standing
from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent

DATA_LIMIT_BYTES = 8 << 20


class DataForm(Enum):
    """How an event's data is shown, if at all."""

    NONE = "none"
    BASE64 = "base64"
    JSON = "json"


def listing_view(listing: Listing, form: DataForm, limit_bytes: int | None = DATA_LIMIT_BYTES) -> dict[str, Any]:
    """The page as JSON values; with no limit, data is never left out."""
    return {
        "events": [event_view(one, form, limit_bytes) for one in listing.events],
        "damaged": listing.damaged,
        "last": listing.last,
        "newest": listing.newest,
        "done": listing.done,
    }


def event_view(listed: Listed, form: DataForm, limit_bytes: int | None) -> dict[str, Any]:
    """One event: where it lies, when it came, how large its data is, its attributes, and how it stands."""
    event = listed.kept.event
    size_bytes = len(event.data)
    view: dict[str, Any] = {
        "position": listed.kept.position,
        "received": format_time(listed.kept.received_ns),
        "broker": str(listed.broker),
        "size": size_bytes,
        "deliveries": [_delivery(one) for one in listed.deliveries],
        "event": dict(event.attributes()),
    }
    if form is not DataForm.NONE and limit_bytes is not None and size_bytes > limit_bytes:
        view["data_left_out"] = True
    elif size_bytes:
        view["event"] |= _data(event, form)
    return view


def _delivery(one: Standing) -> Mapping[str, Any]:
    view = {"trigger": str(one.trigger), "state": one.state.value}
    return view if one.dead_letter is None else {**view, **_dead_letter(one.dead_letter)}


def _dead_letter(letter: DeadLetter) -> Mapping[str, Any]:
    return {
        "since": format_time(letter.time_ns),
        "attempts": letter.attempts,
        "code": letter.code,
        "reason": letter.reason,
    }


def _data(event: CloudEvent, form: DataForm) -> Mapping[str, Any]:
    if form is DataForm.NONE:
        return {}
    if form is DataForm.JSON:
        try:
            return {"data": json.loads(event.data, parse_constant=_refuse)}
        except (ValueError, RecursionError):
            pass
    return {"data_base64": base64.b64encode(event.data).decode()}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
