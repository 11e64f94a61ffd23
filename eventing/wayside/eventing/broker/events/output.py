"""How `wayside events` shows events: a JSON line each, whole CloudEvents, or columns for people.

Invariant: pure. A line holds one event whatever its attributes and data hold; columns are printable.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wayside.eventing import json_format
from wayside.eventing.event import CloudEvent

EventView = Mapping[str, Any]
_HEADINGS = ("POSITION", "RECEIVED", "TYPE", "SOURCE", "ID", "SIZE", "DELIVERIES")
_WIDEST = 48
_LINE_BREAKS = (b"\n", b"\r")


def json_line(view: EventView) -> str:
    """What the broker says of the event."""
    return json.dumps(view, ensure_ascii=False)


def full_line(view: EventView) -> str:
    """The event alone in CloudEvents JSON, its data to the byte: as base64 where it would break the line."""
    attributes = dict(view["event"])
    data = base64.b64decode(attributes.pop("data_base64", ""))
    event = CloudEvent.from_attributes(attributes, data)
    line = json_format.encode(event)
    if any(line_break in line for line_break in _LINE_BREAKS):
        line = json.dumps({**attributes, "data_base64": base64.b64encode(data).decode()}).encode()
    return line.decode()


class Table:
    """Aligned columns, which grow where a later event needs it. The headings come before the first event."""

    def __init__(self) -> None:
        self._widths = [0] * len(_HEADINGS)

    def lines(self, views: Sequence[EventView]) -> Iterator[str]:
        rows = [_HEADINGS, *map(_cells, views)] if not any(self._widths) and views else [*map(_cells, views)]
        for cells in rows:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        return map(self._line, rows)

    def _line(self, cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)).rstrip()


def _cells(view: EventView) -> tuple[str, ...]:
    event = view["event"]
    received = f"{view['received'][:23]}Z"
    shown = (event["type"], event["source"], event["id"])
    more = view.get("deliveries_left_out")
    told = [*map(_delivery, view["deliveries"]), *([f"and {more} more"] if more else [])]
    deliveries = "; ".join(told) or "(no Trigger)"
    return (str(view["position"]), received, *(_cut(visible(text)) for text in shown), str(view["size"]), deliveries)


def _delivery(view: Mapping[str, Any]) -> str:
    name = visible(view["trigger"].rpartition("/")[2])
    if "reason" not in view:
        return f"{name}: {view['state']}"
    return f"{name}: {view['state']} after {counted(view['attempts'], 'attempt')}, {visible(view['reason'])}"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def visible(text: str) -> str:
    """The text with what is not printable escaped, as Python writes it."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def replay_words(summary: Mapping[str, Any]) -> str:
    """How a replay ended, in a sentence."""
    reasons = {
        "filtered": "not passed by its filter",
        "waiting": "waiting for it already",
        "dead_letters": "among its dead letters (wayside events redeliver)",
        "forgotten": "forgotten meanwhile",
        "damaged": "damaged on disk",
    }
    left = ", ".join(f"{summary[name]} {words}" for name, words in reasons.items() if summary[name])
    verb = "would be replayed" if summary["dry_run"] else "replayed"
    return f"{summary['replayed']} of {counted(summary['looked'], 'event')} {verb} to {summary['trigger']}" + (
        f"; left alone: {left}" if left else ""
    )


def redeliver_words(summary: Mapping[str, Any]) -> str:
    """How a redelivery ended, in a sentence."""
    of_each = ", ".join(f"{number} of {name}" for name, number in summary["triggers"].items())
    return f"{counted(summary['redelivered'], 'dead letter')} redelivered" + (f": {of_each}" if of_each else "")
