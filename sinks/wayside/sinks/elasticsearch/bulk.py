"""Elasticsearch's bulk requests as values: what is written, its bytes, and what an answer says of each item. Pure.

Invariant: a write names the version that it was made from, so that it can replace nothing that it has not seen.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wayside.sinks.document import Document, dump
from wayside.sinks.elasticsearch.indices import DocumentRef

# Item errors that are no fault of the document: whoever runs Elasticsearch can mend them, and then it is taken.
_OPERATORS_FAULTS = frozenset(("validation_exception", "index_closed_exception", "index_not_found_exception"))
_REASON_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it was read, and which version of it."""

    document: Document
    seq_no: int
    primary_term: int


@dataclass(frozen=True, slots=True)
class Write:
    """A document to create, or to put in the place of `seen` and of no later version."""

    ref: DocumentRef
    document: Document
    seen: Stored | None

    def encoded(self) -> bytes:
        """The two lines of a bulk request."""
        target: dict[str, Any] = {"_index": self.ref.index, "_id": self.ref.id}
        action = "create"
        if self.seen is not None:
            action = "index"
            target |= {"if_seq_no": self.seen.seq_no, "if_primary_term": self.seen.primary_term}
        return f"{json.dumps({action: target})}\n{dump(self.document)}\n".encode()


class Verdict(StrEnum):
    """What Elasticsearch says of an item, or of a whole request."""

    WRITTEN = "written"
    OUTDATED = "conflict"  # another writer was there first: read again
    OVERLOADED = "overloaded"
    FAILING = "server_error"
    UNREACHABLE = "unreachable"
    TOO_LARGE = "too_large"
    DENIED = "denied"  # by a block, a closed index, a limit or a lack of rights: an operator's matter
    REFUSED = "refused"  # the document's own fault


MAY_PASS_SOON = frozenset((Verdict.OVERLOADED, Verdict.FAILING, Verdict.UNREACHABLE))


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one write."""

    verdict: Verdict
    reason: str = ""


def fate_of(item: Mapping[str, Any]) -> Fate:
    """What became of an item of a bulk request, by the item of the same place in the answer."""
    result = next(iter(item.values()))
    status, error = result["status"], result.get("error") or {}
    if status < 300:
        return Fate(Verdict.WRITTEN)
    kind = error.get("type", "")
    reason = f"{status} {kind}: {error.get('reason', '')}"[:_REASON_LIMIT]
    if status == 400 and kind not in _OPERATORS_FAULTS:
        return Fate(Verdict.REFUSED, reason)
    return Fate(verdict_of(status), reason)


def verdict_of(status: int) -> Verdict:
    """What an HTTP status other than 2xx says, of an item or of a whole request."""
    if status >= 500:
        return Verdict.FAILING
    known = {409: Verdict.OUTDATED, 413: Verdict.TOO_LARGE, 429: Verdict.OVERLOADED}
    return known.get(status, Verdict.DENIED)


def requests(writes: Sequence[Write], limit_bytes: int) -> Iterator[list[tuple[Write, bytes]]]:
    """The writes in their order, as requests of at most `limit_bytes`, or of one write that is larger."""
    request: list[tuple[Write, bytes]] = []
    size = 0
    for write in writes:
        lines = write.encoded()
        if request and size + len(lines) > limit_bytes:
            yield request
            request, size = [], 0
        request.append((write, lines))
        size += len(lines)
    if request:
        yield request
