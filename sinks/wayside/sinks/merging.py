"""What each event says of records, and how what several events say becomes one document: shared by every record store.

Invariant: merging is commutative, associative and idempotent, so that any order of the same events, and any repetition
of them, gives equal documents. What a known event says under other bytes is never merged.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id, stable_id
from wayside.eventing.pairs.subject import Role, part_key, role_of, subject_of
from wayside.eventing.verdict import RowVerdict, read_identity, read_row_verdict
from wayside.eventing.vocabulary import (
    ALERTS,
    ARTIFACT_DIGEST,
    DETECTOR,
    VERDICTS,
    is_prediction_or_input,
    request_time_ns,
)
from wayside.eventing.window_verdict import WindowVerdict, read_window_verdict
from wayside.sinks.alerts import AlertPart, alert_part
from wayside.sinks.document import HEAD_FIELDS, ROWS_LIMIT, Document, RecordHead, RowPart, dump, row_parts
from wayside.sinks.feedback import feedback_sides
from wayside.sinks.windows import WindowRow

BOOKKEEPING = "wayside"
# Whose time is the record's: the request's before the response's before a verdict's.
_TIME_RANKS = {Role.REQUEST: 0, Role.RESPONSE: 1}
_VERDICT_RANK = 2


class Outcome(StrEnum):
    """What became of an event that was sent to a record store."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class PayloadPart:
    """A request or a response, row by row; `time_ns` is the request's.

    `is_whole` where it is what a model took or gave: no error's text, no cut body.
    """

    head: RecordHead
    role: Role
    rows: list[RowPart]
    time_ns: int
    is_whole: bool = True

    @property
    def time(self) -> str:
        return self.head.time


@dataclass(frozen=True, slots=True)
class RowVerdictPart:
    """A row verdict: `meta` is the JSON text of who judged, `time` the request's."""

    source: str
    event_id: str
    role: Role
    detector: str
    digest: str
    meta: str
    time: str
    verdict: RowVerdict


@dataclass(frozen=True, slots=True)
class FeedbackPart:
    """How good an answer was, row by row; `time` is the request's where the event says it, else its own."""

    source: str
    event_id: str
    time: str
    sides: Sequence[Document]


@dataclass(frozen=True, slots=True)
class WindowPart:
    """A window verdict under the name that its rows know it by."""

    window_id: str
    detector: str
    digest: str
    meta: str
    time: str
    verdict: WindowVerdict

    def row(self) -> WindowRow:
        """The verdict as stores keep it."""
        return WindowRow.of(self.verdict, self.detector, self.digest, self.time)


Part = PayloadPart | RowVerdictPart | FeedbackPart | WindowPart | AlertPart


def part_of(event: CloudEvent) -> Part | None:
    """An event's part of its records or of its alert, or None where it has none: other people's verdicts, which know no
    p-value.

    Raises `MalformedEvent` for a verdict, an alert or a time that cannot be read, and for a window of too many rows.
    """
    if event.type in ALERTS:
        return alert_part(event)
    role = role_of(event)
    if role is None:
        return None
    if role in (Role.REQUEST, Role.RESPONSE):
        return _payload_part(event, role)
    if role is Role.FEEDBACK:
        subject = subject_of(event)
        return FeedbackPart(subject.source, subject.id, _time_of(event), feedback_sides(event))
    return _verdict_part(event, role) if event.type in VERDICTS else None


def _time_of(event: CloudEvent) -> str:
    return format_time(request_time_ns(event))


def _payload_part(event: CloudEvent, role: Role) -> PayloadPart:
    """Under the subject's (source, id), which for Seldon's events are not the event's own."""
    subject, time_ns = subject_of(event), request_time_ns(event)
    head = RecordHead.of(event, format_time(time_ns))
    if subject != (head.source, head.event_id):
        head = head._replace(source=subject.source, event_id=subject.id)
    return PayloadPart(head, role, row_parts(event), time_ns, is_prediction_or_input(event))


def _verdict_part(event: CloudEvent, role: Role) -> RowVerdictPart | WindowPart:
    time, detector = _time_of(event), event.extensions.get(DETECTOR, "")
    meta = json.dumps(read_identity(event).meta(), separators=(",", ":"))
    digest = event.extensions.get(ARTIFACT_DIGEST, "")
    if role is Role.DRIFT:
        return WindowPart(stable_id(event.source, event.id), detector, digest, meta, time, _window_verdict(event))
    subject = subject_of(event)
    return RowVerdictPart(subject.source, subject.id, role, detector, digest, meta, time, _row_verdict(event))


def _row_verdict(event: CloudEvent) -> RowVerdict:
    verdict = read_row_verdict(event)
    if len(verdict.scores) > ROWS_LIMIT:
        raise MalformedEvent(f"row verdict is of over {ROWS_LIMIT} rows")
    return verdict


def _window_verdict(event: CloudEvent) -> WindowVerdict:
    verdict = read_window_verdict(event)
    if sum(max(0, member.end_row - member.first_row) for member in verdict.members) > ROWS_LIMIT:
        raise MalformedEvent(f"window verdict's members are over {ROWS_LIMIT} rows")
    return verdict


def verdict_document(role: str, decision: int, numbers: Sequence[float | None], meta: Document) -> Document:
    """One detector's verdict on one row; `numbers` are score (None where it is not finite), p-value and threshold."""
    score, p_value, threshold = map(_unsigned_zero, numbers)
    data = {f"is_{role}": decision, "instance_score": score, "p_value": p_value, "threshold": threshold}
    return {"data": data, "meta": meta}


def drift_document(row: WindowRow, meta: Document) -> Document:
    """A window's verdict as its rows show it. Where it was not judged `is_drift` is null, and `error` says why."""
    data: Document = {
        "is_drift": int(row.is_drift) if row.error is None else None,
        "p_val": _unsigned_zero(row.p_value),
        "threshold": _unsigned_zero(row.threshold),
        "distance": _unsigned_zero(row.distance),
        "window": {"first": row.first, "end": row.end, "time": row.time},
    }
    if row.error is not None:
        data["error"] = row.error
    return {"data": data, "meta": meta}


def _unsigned_zero(number: float | None) -> float | None:
    """The number, but 0.0 for -0.0: SQLite keeps no sign of a zero, and no order of verdicts may show in one."""
    return None if number is None else number + 0.0


def joined_verdicts(role: str, verdicts: Sequence[Document]) -> Document:
    """Verdicts of one role on one row: the detector's that comes first by name, the others' beside it as a list.

    Of several verdicts by one detector, of one artifact and threshold, the most severe stands.
    """
    chosen: dict[tuple[Any, ...], Document] = {}
    for verdict in verdicts:
        judge = _judge(verdict)
        if judge not in chosen or _severity(role, verdict) > _severity(role, chosen[judge]):
            chosen[judge] = verdict
    first, *others = (chosen[judge] for judge in sorted(chosen))
    return {**first, "others": others} if others else first


def _judge(verdict: Document) -> tuple[Any, ...]:
    meta = verdict["meta"]
    return meta["name"], meta["artifact_digest"], verdict["data"]["threshold"], json.dumps(meta, sort_keys=True)


def _severity(role: str, verdict: Document) -> tuple[int, bool, float, float]:
    data = verdict["data"]
    score = data["instance_score"]
    return data[f"is_{role}"], score is None, score or 0.0, data["p_value"]


def feedback_order(side: Document) -> tuple[str, ...]:
    """Of several feedbacks on one row the latest stands; where times are equal, always the same one."""
    return side["ce-time"], side["ce-source"], side["ce-id"], dump(side)


def _separated(joined: Document | None) -> list[Document]:
    if joined is None:
        return []
    return [{"data": joined["data"], "meta": joined["meta"]}, *joined.get("others", ())]


@dataclass(frozen=True, slots=True)
class Mark:
    """How a document remembers an event: a name for its `part_key`, and the digest of its data, both in hex."""

    name: str
    digest: str

    @classmethod
    def of(cls, event: CloudEvent) -> "Mark":
        return cls(stable_id(*part_key(event)), event.digest.hex())


class Knowledge(Enum):
    """What a document knows of an event: nothing, that very event, or another one under its key."""

    NONE = 0
    SAME = 1
    OTHER = 2


def knowledge(document: Document | None, mark: Mark) -> Knowledge:
    """What `document` knows of the event of `mark`."""
    digest = bookkeeping(document).get("events", {}).get(mark.name)
    if digest is None:
        return Knowledge.NONE
    return Knowledge.SAME if digest == mark.digest else Knowledge.OTHER


def bookkeeping(document: Document | None) -> Mapping[str, Any]:
    """What a stored document keeps for its store alone."""
    kept: Mapping[str, Any] = (document or {}).get(BOOKKEEPING, {})
    return kept


def shown(document: Document) -> Document:
    """A stored document as people see it."""
    return {name: value for name, value in document.items() if name != BOOKKEEPING}


def marked(document: Document, mark: Mark, **kept: Any) -> Document:
    """The document with one more event in its books, and with what else is `kept` there."""
    books = bookkeeping(document)
    events = dict(sorted({**books.get("events", {}), mark.name: mark.digest}.items()))
    return {**shown(document), BOOKKEEPING: {**books, **kept, "events": events}}


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one event says of one record: its side of it, with the `head` where it is a payload's."""

    record_id: str
    event_id: str
    time: str
    role: Role
    side: Document
    head: Document = field(default_factory=dict)
    window_id: str = ""

    def merged(self, document: Document | None, mark: Mark) -> Document:
        """The record's document with this in it; `document` is what stands, and is left as it is.

        Raises `ValueError` where `document` knows another event under the key of `mark`.
        """
        known = knowledge(document, mark)
        if known is Knowledge.OTHER:
            raise ValueError("a known event under other bytes is not merged")
        if document is not None and known is Knowledge.SAME:
            return document
        merged = self._with_head(document or {"RequestId": self.event_id})
        rank, time = self._earliest(document)
        merged["@timestamp"] = time
        window_id = self._put_side(merged, bookkeeping(document).get("window", ""))
        return marked(merged, mark, time=[rank, time], **({"window": window_id} if window_id else {}))

    def _rank(self) -> int:
        return _TIME_RANKS.get(self.role, _VERDICT_RANK)

    def _earliest(self, document: Document | None) -> tuple[int, str]:
        """Whose time stands: (rank, time)."""
        own = (self._rank(), self.time)
        known = bookkeeping(document).get("time")
        return min(own, (known[0], known[1])) if known else own

    def _with_head(self, document: Document) -> Document:
        """The request's head stands, whichever of request and response comes last."""
        known = bookkeeping(document).get("time", [_VERDICT_RANK])
        if not self.head or known[0] < self._rank():
            return dict(document)
        return {**{name: value for name, value in document.items() if name not in HEAD_FIELDS}, **self.head}

    def _put_side(self, document: Document, window_id: str) -> str:
        """Put this side in, and return the window that the document shows then: of several, always the same one."""
        name = self.role.value
        if self.role in (Role.OUTLIER, Role.ADVERSARIAL):
            document[name] = joined_verdicts(name, [*_separated(document.get(name)), self.side])
        elif self.role is Role.FEEDBACK:
            document[name] = max(self.side, document.get(name, self.side), key=feedback_order)
        elif self.role is not Role.DRIFT or self.window_id > window_id:
            document[name] = self.side
        return max(window_id, self.window_id)


def contributions(part: Part) -> Iterator[Contribution]:
    """What a part says of each of its records; an alert's says nothing of any.

    Raises `MalformedEvent` for a name that no encoding can carry.
    """
    try:
        if isinstance(part, PayloadPart):
            yield from _of_payload(part)
        elif isinstance(part, RowVerdictPart):
            yield from _of_row_verdict(part)
        elif isinstance(part, FeedbackPart):
            yield from _of_feedback(part)
        elif isinstance(part, WindowPart):
            yield from _of_window(part)
    except UnicodeEncodeError as exc:
        raise MalformedEvent("a name in the verdict holds a lone surrogate, which no encoding can carry") from exc


def _of_payload(part: PayloadPart) -> Iterator[Contribution]:
    head, fields = part.head, part.head.fields()
    for row in part.rows:
        name = record_id(head.source, head.event_id, row.row)
        yield Contribution(name, head.event_id, head.time, part.role, row.side, fields)


def _of_row_verdict(part: RowVerdictPart) -> Iterator[Contribution]:
    verdict, meta = part.verdict, json.loads(part.meta)
    columns = zip(verdict.decisions, verdict.scores, verdict.p_values, strict=True)
    for row, (decision, score, p_value) in enumerate(columns):
        numbers = (score, p_value, verdict.threshold)
        side = verdict_document(part.role.value, int(decision), numbers, meta)
        yield Contribution(record_id(part.source, part.event_id, row), part.event_id, part.time, part.role, side)


def _of_feedback(part: FeedbackPart) -> Iterator[Contribution]:
    for row, side in enumerate(part.sides):
        yield Contribution(record_id(part.source, part.event_id, row), part.event_id, part.time, Role.FEEDBACK, side)


def _of_window(part: WindowPart) -> Iterator[Contribution]:
    side = window_side(part)
    for member in part.verdict.members:
        time = format_time(parse_time(member.time))
        for row in range(member.first_row, member.end_row):
            name = record_id(member.source, member.id, row)
            yield Contribution(name, member.id, time, Role.DRIFT, side, window_id=part.window_id)


def window_side(part: WindowPart) -> Document:
    """A window's verdict as its rows show it."""
    return drift_document(part.row(), json.loads(part.meta))
