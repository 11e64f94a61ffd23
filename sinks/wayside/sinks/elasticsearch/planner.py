"""Which documents an event is part of, and what it says of each. Pure.

Invariant: a plan is a function of its event alone; the same event always names the same documents.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.sinks.alerts import AlertPart, merged_alert
from wayside.sinks.document import SERVICE_FIELDS, Document
from wayside.sinks.elasticsearch.indices import DocumentRef, IndexNames
from wayside.sinks.merging import (
    BOOKKEEPING,
    Knowledge,
    Mark,
    Part,
    WindowPart,
    bookkeeping,
    contributions,
    knowledge,
    marked,
    part_of,
    shown,
    window_side,
)


class Change(Protocol):
    """What an event does to one document."""

    def merged(self, document: Document | None, mark: Mark) -> Document:
        """The document with this in it; that very object where it is in it already."""
        ...


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """A document that one event makes alone."""

    content: Document

    def merged(self, document: Document | None, mark: Mark) -> Document:
        return marked(self.content, mark) if document is None else document


@dataclass(frozen=True, slots=True)
class AlertEventDocument:
    """What one event says of its alert's document."""

    content: Document

    def merged(self, document: Document | None, mark: Mark) -> Document:
        if knowledge(document, mark) is Knowledge.SAME and document is not None:
            return document
        known = None if document is None else shown(document)
        return marked({**merged_alert(known, self.content), BOOKKEEPING: bookkeeping(document)}, mark)


Step = tuple[DocumentRef, Change]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one event does: its changes by document, each document once."""

    event: CloudEvent
    mark: Mark
    steps: Sequence[Step]
    time: str


def plan_of(event: CloudEvent, names: IndexNames) -> Plan | None:
    """The plan for an event, or None where it has no part in a record or an alert. Raises `MalformedEvent`."""
    part = part_of(event)
    if part is None:
        return None
    return Plan(event, Mark.of(event), _once_each(_steps(part, event, names)), part.time)


def _steps(part: Part, event: CloudEvent, names: IndexNames) -> Iterator[Step]:
    if isinstance(part, AlertPart):
        yield DocumentRef(names.daily("alerts", part.opened), part.alert_id), AlertEventDocument(part.document)
    for contribution in contributions(part):
        yield DocumentRef(names.daily("records", contribution.time), contribution.record_id), contribution
    if isinstance(part, WindowPart):
        yield DocumentRef(names.daily("windows", part.time), part.window_id), WholeDocument(_window(part))


def _once_each(steps: Iterable[Step]) -> list[Step]:
    """A window that names a row twice says the same of it twice."""
    return list(dict(steps).items())


def _window(part: WindowPart) -> Document:
    """The whole verdict, but for its members: they are in their records."""
    key, side, said = part.verdict.key, window_side(part), part.verdict.data()
    del said["members"]
    data = {**said, **side["data"], "window": {**said["window"], **side["data"]["window"]}}
    named = dict(zip(SERVICE_FIELDS, (key.service, key.namespace, key.component, key.endpoint), strict=True))
    revision = part.verdict.revision
    return {"@timestamp": part.time, **named, "revision": revision, "drift": {"data": data, "meta": side["meta"]}}


def conflict_plan(plan: Plan, names: IndexNames) -> Plan:
    """Keeps the event of `plan` apart, whole, because its key is known with other data."""
    event, digest = plan.event, plan.mark.digest
    content: Document = {
        "@timestamp": plan.time,
        **dict(zip(("source", "id", "type"), event.key, strict=True)),
        "digest": digest,
        "attributes": dict(event.attributes()),
        "data_base64": base64.b64encode(event.data).decode(),
    }
    ref = DocumentRef(names.daily("conflicts", plan.time), stable_id("conflict", *event.key, digest))
    return Plan(event, plan.mark, [(ref, WholeDocument(content))], plan.time)
