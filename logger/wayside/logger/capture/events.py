"""The events of one inference: its request and its response, with what a reader needs besides the body.

Source: kserve/kserve pkg/logger (types, times, `recordedtime`, `metadata`); CloudEvents' distributed tracing extension;
docs/events.md for every name.
Invariant: an event's id is ours; what a client sends as an id travels in extensions. (`KServeEvents`, which is for
consumers that depend on KServe's agent, is the exception, and says so.) A client's bytes become attributes through
`field_text`, `client_text` or JSON, and by nothing else: whatever they were, the event can be sent.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from wayside.eventing import vocabulary as words
from wayside.eventing.clock import format_time
from wayside.eventing.errors import ConfigurationError, MalformedEvent
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
_READING_NAMES = frozenset(_READING_HEADERS)
_CLIENT_IDS = {b"ce-id": words.CLIENT_EVENT_ID, b"x-request-id": words.REQUEST_ID}
_CALLER_NAMES = frozenset((*_CLIENT_IDS, b"traceparent"))
_NOT_FIELD = re.compile(r"[^\x20-\x7e]")
_TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_TRACE_STATE_LIMIT = 512
_KEPT_APART = frozenset(("host", "transfer-encoding", "trailer"))  # no headers to Go, which finds them elsewhere
_NOT_IN_GO_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


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
    """What became of a request: status and header fields; how long after the request's arrival the first byte went
    out, and the last one, which was at `end_ns` since the epoch. `notes` are extensions."""

    status: int
    fields: Fields
    first_byte_s: float
    notes: Mapping[str, str]
    latency_s: float = 0.0
    end_ns: int = 0


class EventFactory:
    """Builds the events of one logger. `metadata_headers` are lower-case names of headers that travel as metadata.

    Raises `ConfigurationError` for an identity that no event can carry.
    """

    def __init__(self, identity: Identity, metadata_headers: frozenset[str], *, sampled: bool = False) -> None:
        self._ids = EventIds()
        self._source = identity.source
        self._metadata_names = frozenset(name.encode("latin-1") for name in metadata_headers)
        self._sampled = sampled
        self._shared = {**identity.service.extensions(), words.METADATA: "{}"}
        if identity.annotations:
            self._shared[words.ANNOTATIONS] = self._json(identity.annotations)
        if identity.revision:
            self._shared[words.REVISION] = identity.revision
        try:
            CloudEvent("id", self._source, words.REQUEST, extensions=self._shared)
        except MalformedEvent as exc:
            raise ConfigurationError(f"what events say of their source cannot be sent: {exc}") from exc

    def id_of(self, fields: Fields) -> str:
        """The id of a request's events."""
        return self._ids.mint()

    def inference(self, event_id: str, time_ns: int, request: RequestHead, share: float) -> Inference:
        """What the events of one request share; it stands for `share` of all requests."""
        extensions = {
            **self._shared,
            words.METHOD: _field_text(request.method[:_FIELD_LIMIT]),
            words.PATH: _field_text(request.target.partition(b"?")[0][:_PATH_LIMIT]),  # a query may hold secrets
        }
        if self._metadata_names:
            extensions[words.METADATA] = self._metadata(request.headers)
        if not _CALLER_NAMES.isdisjoint(request.fields):
            extensions |= _caller(request)
        if self._sampled:
            extensions[words.SAMPLE_RATE] = f"{share:.6g}"
        return Inference(event_id, format_time(time_ns), request, extensions)

    def request(self, inference: Inference, body: bytes, recorded_ns: int, *, truncated: bool = False) -> CloudEvent:
        """The event of a request whose body arrived whole."""
        fields = inference.request.fields
        extensions = {**inference.extensions, words.RECORDED_TIME: format_time(recorded_ns)}
        if truncated or not _READING_NAMES.isdisjoint(fields):
            extensions |= _how_to_read(fields, truncated)
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
        if truncated or not _READING_NAMES.isdisjoint(answer.fields):
            extensions |= _how_to_read(answer.fields, truncated)
        return self._event(words.RESPONSE, inference, ended, answer.fields, body, extensions)

    def _event(
        self, kind: str, inference: Inference, time: str, fields: Fields, body: bytes, extensions: dict[str, str]
    ) -> CloudEvent:
        return CloudEvent.trusted(
            inference.id,
            self._source,
            kind,
            time=time,
            datacontenttype=_media_type(fields.get(b"content-type", b"")[:_FIELD_LIMIT]),
            data=body,
            extensions=extensions,
        )

    def _metadata(self, headers: Headers) -> str:
        """Headers as KServe writes them: JSON, a list of values a name. One that is too long is left out, or no
        receiver would take the event's head."""
        kept: dict[str, list[str]] = {}
        room = _METADATA_LIMIT
        for name, value in headers:
            if name in self._metadata_names:
                text = self._text(value)
                size = len(json.dumps(text)) + len(name)
                if size <= room:
                    room -= size
                    kept.setdefault(canonical(name), []).append(text)
        return self._json(kept)

    @staticmethod
    def _text(value: bytes) -> str:
        """A header's value: UTF-8, as most write it, else Latin-1, as it is allowed."""
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    @staticmethod
    def _json(value: Mapping[str, object]) -> str:
        return json.dumps(dict(value), separators=(",", ":"))


class KServeEvents(EventFactory):
    """The events that KServe's agent would make, mistakes included, for consumers that depend on them.

    The id is the client's `Ce-Id` where there is one, so that a client can make two requests look like one; a response
    carries the request's content type; a metadata header must be named as Go writes it. No extensions but the agent's,
    and `truncated`, which the agent, having no limit, never needs.
    """

    def __init__(self, identity: Identity, metadata_headers: frozenset[str]) -> None:
        canonical_names = {name for name in metadata_headers if name == canonical(name.encode("latin-1"))}
        as_go_writes = frozenset(name.lower() for name in canonical_names) - _KEPT_APART
        super().__init__(Identity(identity.source, identity.service, identity.annotations), as_go_writes)

    def id_of(self, fields: Fields) -> str:
        sent = fields.get(b"ce-id")
        return (sent and self._text(sent[:_FIELD_LIMIT]).strip()) or self._ids.mint()

    def inference(self, event_id: str, time_ns: int, request: RequestHead, share: float) -> Inference:
        extensions = {**self._shared, words.METADATA: self._metadata(request.headers)}
        return Inference(event_id, _go_time(time_ns), request, extensions)

    def request(self, inference: Inference, body: bytes, recorded_ns: int, *, truncated: bool = False) -> CloudEvent:
        extensions = {**inference.extensions, words.RECORDED_TIME: _go_time(recorded_ns), **_cut(truncated)}
        return self._event(words.REQUEST, inference, inference.time, inference.request.fields, body, extensions)

    def response(self, inference: Inference, answer: Answer, body: bytes, *, truncated: bool = False) -> CloudEvent:
        ended = _go_time(answer.end_ns)
        extensions = {**inference.extensions, words.RECORDED_TIME: ended, **_cut(truncated)}
        return self._event(words.RESPONSE, inference, ended, inference.request.fields, body, extensions)

    @staticmethod
    def _text(value: bytes) -> str:
        return value.decode(errors="replace")

    @staticmethod
    def _json(value: Mapping[str, object]) -> str:
        return _go_json(value)


def _go_json(value: Mapping[str, object]) -> str:
    """As Go writes it: keys in order, text as UTF-8, and nothing that HTML would read."""
    text = json.dumps(dict(value), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.translate(_NOT_IN_GO_JSON)


def _go_time(time_ns: int) -> str:
    """As Go writes RFC 3339 with nanoseconds: without the zeros at the end."""
    return f"{format_time(time_ns)[:-1].rstrip('0').rstrip('.')}Z"


def _cut(truncated: bool) -> dict[str, str]:
    return {words.TRUNCATED: "true"} if truncated else {}


def _how_to_read(fields: Fields, truncated: bool) -> dict[str, str]:
    """What a reader of the body needs besides its content type: its compression, where V2's tensors begin, and whether
    it is whole."""
    found = ((extension, fields.get(name)) for name, extension in _READING_HEADERS.items())
    told = {extension: field_text(value) for extension, value in found if value and value != b"identity"}
    return told | _cut(truncated)


def _caller(request: RequestHead) -> dict[str, str]:
    """What the caller knows the request by."""
    found = ((extension, request.fields.get(name, b"").strip()) for name, extension in _CLIENT_IDS.items())
    ids = {extension: client_text(value.decode("latin-1")) for extension, value in found if value}
    return ids | _trace(request)


def _trace(request: RequestHead) -> dict[str, str]:
    """The caller's trace context, so that an event lies in the trace of its request; none where it is not valid."""
    parent = request.fields.get(b"traceparent")
    if parent is None or _TRACE_PARENT.fullmatch(parent) is None:
        return {}
    state = b",".join([value for name, value in request.headers if name == b"tracestate"])
    kept = {words.TRACE_STATE: field_text(state)} if 0 < len(state) <= _TRACE_STATE_LIMIT else {}
    return {words.TRACE_PARENT: parent.decode(), **kept}


@lru_cache(maxsize=256)
def _media_type(value: bytes) -> str | None:
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
