"""Copies of bodies, and the events made from them.

Invariant: a copy never grows past its bounds, and what goes over them is no event at all, never a part of one. An
event's id is ours; what a client sends as an id travels in extensions.
"""

import json
import re
from dataclasses import dataclass

from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers, find
from wayside.eventing.identity import client_text
from wayside.eventing.vocabulary import (
    ANNOTATIONS,
    CLIENT_EVENT_ID,
    CONTENT_ENCODING,
    INFERENCE_HEADER_LENGTH,
    METADATA,
    RECORDED_TIME,
    REQUEST,
    REQUEST_ID,
    REQUEST_TIME,
    RESPONSE,
)
from wayside.logger.settings import Identity

_PIECE_BYTES = 64  # what a piece of a copy takes besides its data
_METADATA_LIMIT = 8 << 10  # characters, which travel as a header of at most three times as many bytes
_CLOUD_EVENTS = "application/cloudevents"
_READING_HEADERS = {CONTENT_ENCODING: b"content-encoding", INFERENCE_HEADER_LENGTH: b"inference-header-content-length"}
_NOT_FIELD = re.compile(r"[^\x20-\x7e]")


class CaptureBudget:
    """How many bytes may lie in unfinished copies, over all connections."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size: int) -> bool:
        """Reserve bytes, or return False where there is no room."""
        if self.used_bytes + size > self._limit_bytes:
            return False
        self.used_bytes += size
        return True

    def give_back(self, size: int) -> None:
        self.used_bytes -= size


class BodyCopy:
    """The copy of one body. `overflowed` is True once it went over a bound, and the copy is empty from then on."""

    def __init__(self, limit_bytes: int, budget: CaptureBudget) -> None:
        self._limit_bytes = limit_bytes
        self._budget = budget
        self._chunks: list[bytes] = []
        self._size = self._reserved = 0
        self.overflowed = False

    def add(self, data: bytes) -> None:
        """Copy a piece of the body; never raises."""
        if self.overflowed:
            return
        if self._size + len(data) > self._limit_bytes or not self._budget.take(len(data) + _PIECE_BYTES):
            self.overflowed = True
            self.release()
            return
        self._size += len(data)
        self._reserved += len(data) + _PIECE_BYTES
        self._chunks.append(data)

    def take(self) -> bytes:
        """The whole body; the copy is empty afterwards."""
        body = b"".join(self._chunks)
        self.release()
        return body

    def release(self) -> None:
        """Forget the copy. May be called twice."""
        self._budget.give_back(self._reserved)
        self._chunks.clear()
        self._size = self._reserved = 0


@dataclass(frozen=True, slots=True)
class Inference:
    """What the events of one request share: the minted id, when the request came (ns), and its own headers."""

    id: str
    time_ns: int
    headers: Headers


class EventFactory:
    """Builds the events of one logger. `metadata_headers` are lower-case names of headers that travel as metadata."""

    def __init__(self, identity: Identity, metadata_headers: frozenset[str]) -> None:
        self._identity = identity
        self._metadata_names = metadata_headers
        self._shared = identity.service.extensions()
        if identity.annotations:
            self._shared[ANNOTATIONS] = json.dumps(dict(identity.annotations), separators=(",", ":"))

    def request(self, inference: Inference, body: bytes, recorded_ns: int) -> CloudEvent:
        """The event of a request whose body arrived whole."""
        return self._event(REQUEST, inference, inference.time_ns, recorded_ns, inference.headers, body, {})

    def response(self, inference: Inference, headers: Headers, body: bytes, end_ns: int) -> CloudEvent:
        """The event of a 200 whose body went out whole at `end_ns`."""
        times = {REQUEST_TIME: format_time(inference.time_ns)}
        return self._event(RESPONSE, inference, end_ns, end_ns, headers, body, times)

    def _event(
        self,
        kind: str,
        inference: Inference,
        time_ns: int,
        recorded_ns: int,
        headers: Headers,
        body: bytes,
        extensions: dict[str, str],
    ) -> CloudEvent:
        content_type = find(headers, b"content-type")
        extensions |= _how_to_read(headers)
        return CloudEvent(
            id=inference.id,
            source=self._identity.source,
            type=kind,
            time=format_time(time_ns),
            datacontenttype=_media_type(content_type),
            data=body,
            extensions={
                **self._shared,
                RECORDED_TIME: format_time(recorded_ns),
                METADATA: self._metadata(inference.headers),
                **_client_ids(inference.headers),
                **extensions,
            },
        )

    def _metadata(self, headers: Headers) -> str:
        if not self._metadata_names:
            return "{}"
        kept: dict[str, list[str]] = {}
        room = _METADATA_LIMIT
        for name, value in headers:
            if name.decode("latin-1") in self._metadata_names:
                text = value.decode("latin-1")
                size = len(json.dumps(text)) + len(name)
                if size <= room:  # one that is too long is left out, or no receiver would take the event's head
                    room -= size
                    kept.setdefault(canonical(name), []).append(text)
        return json.dumps(kept, separators=(",", ":"))


def _how_to_read(headers: Headers) -> dict[str, str]:
    """What a reader of the body needs besides its content type: its compression, and where V2's tensors begin."""
    found = {name: find(headers, header) for name, header in _READING_HEADERS.items()}
    return {name: field_text(value) for name, value in found.items() if value}


def _client_ids(headers: Headers) -> dict[str, str]:
    sent = {CLIENT_EVENT_ID: find(headers, b"ce-id"), REQUEST_ID: find(headers, b"x-request-id")}
    return {name: client_text(value.decode("latin-1")) for name, value in sent.items() if value}


def _media_type(value: bytes | None) -> str | None:
    """A body's media type. A body that is itself a CloudEvent travels as what it is written in, or a receiver would
    take it, and the id in it, for the event."""
    text = field_text(value) if value else ""
    if not text.lower().startswith(_CLOUD_EVENTS):
        return text or None
    return "application/json" if "+json" in text.lower() else "application/octet-stream"


def field_text(value: bytes, limit: int = 256) -> str:
    """A header's value made fit to travel with an event: printable ASCII and spaces, at most `limit` characters."""
    return _NOT_FIELD.sub("?", value[:limit].decode("latin-1")).strip()


def canonical(name: bytes) -> str:
    """A header name as Go writes it: X-Request-Id."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))
