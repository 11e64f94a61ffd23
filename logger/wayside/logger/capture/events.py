"""The events of one inference: its request and its response, with what a reader needs besides the body.

Source: kserve/kserve pkg/logger (types, times, `recordedtime`, `metadata`); CloudEvents' distributed tracing extension;
docs/events.md for every name.
Invariant: an event's id is ours; what a client sends as an id travels in extensions. (`KServeEvents`, which is for
consumers that depend on KServe's agent, is the exception, and says so.)
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from wayside.eventing import vocabulary as words
from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers
from wayside.eventing.identity import EventIds, client_text
from wayside.logger.capture.request import Fields, RequestHead
from wayside.logger.settings import Identity

_METADATA_LIMIT = 8 << 10  # characters, which travel as a header of at most three times as many bytes
_PATH_LIMIT = 1024
_FIELD_LIMIT = 256
_CLOUD_EVENTS = "application/cloudevents"
_READING_HEADERS = {
    b"content-encoding": words.CONTENT_ENCODING,
    b"grpc-encoding": words.CONTENT_ENCODING,
    b"inference-header-content-length": words.INFERENCE_HEADER_LENGTH,
}
_CLIENT_IDS = {b"ce-id": words.CLIENT_EVENT_ID, b"x-request-id": words.REQUEST_ID}
_NOT_FIELD = re.compile(r"[^\x20-\x7e]")
_TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_TRACE_STATE_LIMIT = 512


@dataclass(slots=True)
class Inference:
    """What the events of one request share: the id, when the request came (RFC 3339), its head, and the extensions that
    are alike on both."""

    id: str
    time: str
    request: RequestHead
    extensions: Mapping[str, str]


@dataclass(slots=True)
class Answer:
    """What became of a request: status and header fields, when the last byte went out (ns since the epoch), how long
    after the request's arrival that was, and the first byte. `notes` are extensions."""

    status: int
    fields: Fields
    end_ns: int
    latency_s: float
    first_byte_s: float
    notes: Mapping[str, str]


class EventFactory:
    """Builds the events of one logger. `metadata_headers` are lower-case names of headers that travel as metadata."""

    def __init__(self, identity: Identity, metadata_headers: frozenset[str], *, sampled: bool = False) -> None:
        self._ids = EventIds()
        self._source = identity.source
        self._metadata_names = frozenset(name.encode("latin-1") for name in metadata_headers)
        self._sampled = sampled
        self._shared = identity.service.extensions()
        if identity.annotations:
            self._shared[words.ANNOTATIONS] = _compact(dict(identity.annotations))
        if identity.revision:
            self._shared[words.REVISION] = identity.revision

    def id_of(self, fields: Fields) -> str:
        """The id of a request's events."""
        return self._ids.mint()

    def inference(self, event_id: str, time_ns: int, request: RequestHead, share: float) -> Inference:
        """What the events of one request share; it stands for `share` of all requests."""
        fields = request.fields
        extensions = {
            **self._shared,
            words.METADATA: self._metadata(request.headers),
            words.METHOD: field_text(request.method),
            words.PATH: field_text(request.target.partition(b"?")[0], _PATH_LIMIT),  # a query may hold secrets
        }
        if not _CLIENT_IDS.keys().isdisjoint(fields):
            extensions |= _client_ids(fields)
        if b"traceparent" in fields:
            extensions |= _trace(request)
        if self._sampled:
            extensions[words.SAMPLE_RATE] = f"{share:.6g}"
        return Inference(event_id, format_time(time_ns), request, extensions)

    def request(self, inference: Inference, body: bytes, recorded_ns: int, *, truncated: bool = False) -> CloudEvent:
        """The event of a request whose body arrived whole."""
        fields = inference.request.fields
        extensions = {**inference.extensions, words.RECORDED_TIME: format_time(recorded_ns)}
        _add_how_to_read(extensions, fields, truncated)
        return self._event(words.REQUEST, inference, inference.time, fields, body, extensions)

    def response(self, inference: Inference, answer: Answer, body: bytes, *, truncated: bool = False) -> CloudEvent:
        """The event of an answer; `truncated` too where it broke off."""
        ended = format_time(answer.end_ns)
        extensions = {
            **inference.extensions,
            words.RECORDED_TIME: ended,
            words.REQUEST_TIME: inference.time,
            words.STATUS_CODE: str(answer.status),
            words.LATENCY_MS: f"{answer.latency_s * 1e3:.3f}",
            words.FIRST_BYTE_MS: f"{answer.first_byte_s * 1e3:.3f}",
            **answer.notes,
        }
        _add_how_to_read(extensions, answer.fields, truncated)
        return self._event(words.RESPONSE, inference, ended, answer.fields, body, extensions)

    def _event(
        self, kind: str, inference: Inference, time: str, fields: Fields, body: bytes, extensions: dict[str, str]
    ) -> CloudEvent:
        return CloudEvent(
            id=inference.id,
            source=self._source,
            type=kind,
            time=time,
            datacontenttype=_media_type(fields.get(b"content-type")),
            data=body,
            extensions=extensions,
        )

    def _metadata(self, headers: Headers) -> str:
        if not self._metadata_names:
            return "{}"
        return _metadata([pair for pair in headers if pair[0] in self._metadata_names])


class KServeEvents(EventFactory):
    """The events that KServe's agent would make, mistakes included, for consumers that depend on them.

    The id is the client's `Ce-Id` where there is one, so that a client can make two requests look like one; a response
    carries the request's content type; a metadata header must be named as Go writes it. No extensions but the agent's,
    and `truncated`, which the agent, having no limit, never needs.
    """

    def __init__(self, identity: Identity, metadata_headers: frozenset[str]) -> None:
        as_go_writes = frozenset(name.lower() for name in metadata_headers if name == canonical(name.encode("latin-1")))
        super().__init__(Identity(identity.source, identity.service, identity.annotations), as_go_writes)

    def id_of(self, fields: Fields) -> str:
        sent = fields.get(b"ce-id")
        return client_text(sent.decode("latin-1")) if sent else self._ids.mint()

    def inference(self, event_id: str, time_ns: int, request: RequestHead, share: float) -> Inference:
        extensions = {**self._shared, words.METADATA: self._metadata(request.headers)}
        return Inference(event_id, format_time(time_ns), request, extensions)

    def request(self, inference: Inference, body: bytes, recorded_ns: int, *, truncated: bool = False) -> CloudEvent:
        extensions = {**inference.extensions, words.RECORDED_TIME: format_time(recorded_ns), **_cut(truncated)}
        return self._event(words.REQUEST, inference, inference.time, inference.request.fields, body, extensions)

    def response(self, inference: Inference, answer: Answer, body: bytes, *, truncated: bool = False) -> CloudEvent:
        ended = format_time(answer.end_ns)
        extensions = {**inference.extensions, words.RECORDED_TIME: ended, **_cut(truncated)}
        return self._event(words.RESPONSE, inference, ended, inference.request.fields, body, extensions)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _metadata(headers: Headers) -> str:
    """Headers as KServe writes them: JSON, a list of values a name. One that is too long is left out, or no receiver
    would take the event's head."""
    kept: dict[str, list[str]] = {}
    room = _METADATA_LIMIT
    for name, value in headers:
        text = value.decode("latin-1")
        size = len(json.dumps(text)) + len(name)
        if size <= room:
            room -= size
            kept.setdefault(canonical(name), []).append(text)
    return _compact(kept)


def _cut(truncated: bool) -> dict[str, str]:
    return {words.TRUNCATED: "true"} if truncated else {}


def _add_how_to_read(extensions: dict[str, str], fields: Fields, truncated: bool) -> None:
    """What a reader of the body needs besides its content type: its compression, where V2's tensors begin, and whether
    it is whole."""
    if truncated:
        extensions[words.TRUNCATED] = "true"
    if _READING_HEADERS.keys().isdisjoint(fields):
        return
    for name, extension in _READING_HEADERS.items():
        value = fields.get(name)
        if value and value != b"identity":
            extensions[extension] = field_text(value)


def _client_ids(fields: Fields) -> dict[str, str]:
    return {
        extension: client_text(fields[name].decode("latin-1"))
        for name, extension in _CLIENT_IDS.items()
        if fields.get(name)
    }


def _trace(request: RequestHead) -> dict[str, str]:
    """The caller's trace context, so that an event lies in the trace of its request; none where it is not valid."""
    parent = request.fields.get(b"traceparent")
    if parent is None or _TRACE_PARENT.fullmatch(parent) is None:
        return {}
    state = b",".join([value for name, value in request.headers if name == b"tracestate"])
    kept = {words.TRACE_STATE: field_text(state)} if 0 < len(state) <= _TRACE_STATE_LIMIT else {}
    return {words.TRACE_PARENT: parent.decode(), **kept}


def _media_type(value: bytes | None) -> str | None:
    return _media_type_text(value[:_FIELD_LIMIT]) if value else None


@lru_cache(maxsize=256)
def _media_type_text(value: bytes) -> str | None:
    """A body's media type. A body that is itself a CloudEvent travels as what it is written in, or a receiver would
    take it, and the id in it, for the event."""
    text = field_text(value)
    if not text.lower().startswith(_CLOUD_EVENTS):
        return text or None
    return "application/json" if "+json" in text.lower() else "application/octet-stream"


def field_text(value: bytes, limit: int = _FIELD_LIMIT) -> str:
    """A header's value made fit to travel with an event: printable ASCII and spaces, at most `limit` characters."""
    return _field_text(value[:limit])


@lru_cache(maxsize=1024)
def _field_text(value: bytes) -> str:
    return _NOT_FIELD.sub("?", value.decode("latin-1")).strip()


def canonical(name: bytes) -> str:
    """A header name as Go writes it: X-Request-Id."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))
