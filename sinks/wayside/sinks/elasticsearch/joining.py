"""One round of bringing events into documents: what has to be written, given what stands. Pure but for its own state.

Invariant: an event is settled once all of its documents hold it, or once one of them can never, or knows another event
under its key; until then some item of it is open.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wayside.eventing.errors import WaysideError
from wayside.eventing.sink import EventRefused
from wayside.sinks.elasticsearch.bulk import Fate, Stored, Verdict, Write
from wayside.sinks.elasticsearch.indices import DocumentRef
from wayside.sinks.elasticsearch.planner import Change, Plan
from wayside.sinks.merging import Knowledge, Outcome, knowledge


@dataclass(slots=True, eq=False)
class Progress:
    """How far an event has come."""

    plan: Plan
    changed: bool = False
    conflicting: bool = False
    failure: WaysideError | None = None
    settled_items: int = 0

    @property
    def open(self) -> bool:
        """Whether anything is left to do for it."""
        stopped = self.conflicting or self.failure is not None
        return not stopped and self.settled_items < len(self.plan.steps)

    def settle_item(self, changed: bool) -> None:
        """One of its documents holds it now; `changed` unless it did before."""
        self.changed |= changed
        self.settled_items += 1

    def fail(self, error: WaysideError) -> None:
        """Give it up, unless it is done."""
        if self.open:
            self.failure = error

    def result(self) -> Outcome | WaysideError:
        """What became of the event, once nothing of it is open."""
        if self.failure is not None:
            return self.failure
        return Outcome.STORED if self.changed else Outcome.DUPLICATE


@dataclass(frozen=True, slots=True)
class Item:
    """One event's change of one document."""

    progress: Progress
    ref: DocumentRef
    change: Change


def slices(progresses: Iterable[Progress], limit_documents: int) -> Iterator[list[Item]]:
    """The items of events in their order, about `limit_documents` at a time; only a larger event is cut in pieces."""
    collected: list[Item] = []
    for progress in progresses:
        items = [Item(progress, ref, change) for ref, change in progress.plan.steps]
        if collected and len(collected) + len(items) > limit_documents:
            yield collected
            collected = []
        collected += items
        while len(collected) > limit_documents:
            yield collected[:limit_documents]
            collected = collected[limit_documents:]
    if collected:
        yield collected


@dataclass(slots=True)
class Round:
    """Items that are open, and the documents of which Elasticsearch refused several changes at once.

    Such a document's changes are tried one at a time, so that only the event at fault is refused.
    """

    items: list[Item]
    apart: set[DocumentRef] = field(default_factory=set)
    _written: dict[DocumentRef, list[tuple[Item, bool]]] = field(default_factory=dict)

    def refs(self) -> list[DocumentRef]:
        """The documents that the next `writes` needs."""
        self.items = [item for item in self.items if item.progress.open]
        return list(dict.fromkeys(item.ref for item in self.items))

    def writes(self, stored: Mapping[DocumentRef, Stored | None]) -> list[Write]:
        """What to write now. Items that are in their documents already are settled by this.

        An event stays open, untouched, while a document of it is not in `stored`: it could hold another event's word.
        """
        documents = {ref: found.document if found else None for ref, found in stored.items()}
        self._written = {}
        for progress, items in _by_event(self._tried()):
            if any(item.ref not in documents for item in items):
                continue
            mark = progress.plan.mark
            if any(knowledge(documents[item.ref], mark) is Knowledge.OTHER for item in items):
                progress.conflicting = True
                continue
            for item in items:
                before = documents[item.ref]
                documents[item.ref] = after = item.change.merged(before, mark)
                self._written.setdefault(item.ref, []).append((item, after is not before))
        return [
            Write(ref, document, stored[ref])
            for ref, document in documents.items()
            if document is not None and any(changed for _, changed in self._written.get(ref, ()))
        ]

    def _tried(self) -> list[Item]:
        """The items of this round: of a document whose changes are tried apart, the first one."""
        tried: list[Item] = []
        begun: set[DocumentRef] = set()
        for item in self.items:
            if item.ref not in self.apart or item.ref not in begun:
                tried.append(item)
            begun.add(item.ref)
        return tried

    def settle(self, fates: Mapping[DocumentRef, Fate]) -> None:
        """Take note of what became of the writes; a document without a fate needed none."""
        settled: set[int] = set()
        for ref, items in self._written.items():
            fate = fates.get(ref, Fate(Verdict.WRITTEN))
            if fate.verdict is Verdict.WRITTEN:
                settled.update(id(item) for item, _ in items)
                for item, changed in items:
                    item.progress.settle_item(changed)
            elif fate.verdict in (Verdict.REFUSED, Verdict.TOO_LARGE):
                self._refuse(ref, items, fate)
        self.items = [item for item in self.items if id(item) not in settled]

    def _refuse(self, ref: DocumentRef, items: Sequence[tuple[Item, bool]], fate: Fate) -> None:
        if len(items) > 1:
            self.apart.add(ref)
        else:
            items[0][0].progress.fail(EventRefused(f"Elasticsearch does not take it: {fate.reason}"))


def _by_event(items: Iterable[Item]) -> Iterator[tuple[Progress, list[Item]]]:
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(id(item.progress), []).append(item)
    for group in groups.values():
        yield group[0].progress, group
