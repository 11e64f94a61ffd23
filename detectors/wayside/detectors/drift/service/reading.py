"""One event as rows that come in: whose they are, when they happened, and what of them is refused.

Invariant: what is refused is that event alone, with the reason, before anything of it is stored; what is let through
has the columns of the schema in its order, and a time that no clock here will be ahead of for long.
"""

import json
from dataclasses import dataclass

import numpy as np

from wayside.detectors.drift.service.journal import Incoming
from wayside.detectors.drift.settings import Compared, MissingValues
from wayside.detectors.drift.windowing.keys import key_of
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.tabular.event_rows import Side, rows_of
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs.subject import Subject, subject_of, subject_or_itself
from wayside.eventing.payloads.payload import Limits
from wayside.eventing.vocabulary import SUBJECT_ID, request_time

AHEAD_S = 300
"""How far event time may be ahead of the clock here: clocks differ by seconds, and what is further ahead would make all
that comes after it late."""

_PAYLOAD = Limits()
_NAME_BYTES = 1 << 10  # of an id or a source: windows and verdicts name each event by them


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads the events of one side for windows of `schema`'s columns."""

    schema: Schema
    side: Side = Side.REQUEST
    compared: Compared = Compared.NOTHING
    missing: MissingValues = MissingValues.KEEP
    limits: Limits = _PAYLOAD

    def read(self, event: CloudEvent, now_ns: int) -> Incoming:
        """An event's rows. Raises `MalformedEvent`."""
        subject = self._subject(event)
        check_names(event, subject)
        time, time_ns = event_time(event, now_ns)
        key, group = key_of(event, self.compared)
        rows = self.checked(rows_of(event, self.side, self.schema, self.limits))
        is_payload = self.side.column is None  # a second verdict on one inference is another event
        part = (*subject, event.type) if is_payload else event.key
        beside = "" if is_payload else json.dumps([event.type, event.source, event.id])
        head = (key, subject.source, subject.id, part, event.digest, time, time_ns, rows)
        return Incoming(*head, came_ns=now_ns, group=group, beside=beside)

    def checked(self, rows: Matrix) -> Matrix:
        """The rows, where they may be judged. Raises `MalformedEvent` for a missing value where none is taken."""
        if not len(rows):
            raise MalformedEvent("event has no rows")
        if self.missing is MissingValues.REFUSE and not np.isfinite(rows).all():
            row, at = np.argwhere(~np.isfinite(rows))[0].tolist()
            raise MalformedEvent(
                f"row {row}, {self.schema.describe(at)}: the value is missing or not finite, and this detector refuses"
                " such events"
            )
        return rows

    def _subject(self, event: CloudEvent) -> Subject:
        """What records know the rows by: of a verdict or feedback, where it says so, the inference that it is about."""
        if self.side.column is not None and event.extensions.get(SUBJECT_ID):
            return subject_of(event)
        return subject_or_itself(event)


def check_names(event: CloudEvent, subject: Subject) -> None:
    """Raises `MalformedEvent` where an event, or the inference that it is about, is named by a text too long to keep
    in every verdict that it has a part in."""
    named = {"id": event.id, "source": event.source, "subject's id": subject.id, "subject's source": subject.source}
    for what, name in named.items():
        size = len(name.encode("utf-8", "surrogatepass"))
        if size > _NAME_BYTES:
            raise MalformedEvent(f"event's {what} is {size} bytes long, {_NAME_BYTES} are the most: {name[:64]!r}…")


def event_time(event: CloudEvent, now_ns: int) -> tuple[str, int]:
    """Event time, as text and in nanoseconds since the epoch. Raises `MalformedEvent` for one that cannot be."""
    time = request_time(event)
    time_ns = parse_time(time)
    if time_ns > now_ns + AHEAD_S * 1_000_000_000:
        raise MalformedEvent(
            f"event time {time} is {(time_ns - now_ns) / 1e9:.0f} s ahead of the clock here, {AHEAD_S} s are the most:"
            " set the sender's clock"
        )
    if time_ns < 0:
        raise MalformedEvent(f"event time {time} is before 1970: set the sender's clock")
    return time, time_ns
