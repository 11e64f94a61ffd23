"""Events as the records that stand in files: the agent's columns first, then ours.

Source: kserve/kserve pkg/logger/types.go and cmd/agent/marshaller_record.go (names, order, which are empty when).
Invariant: a record holds every attribute of its event, or, where the agent's records were asked for, what those hold.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from wayside.eventing import vocabulary as words
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.emit.store.go_text import GoUrl, json_text, short_time
from wayside.logger.settings import Delivery, Store

Value = str | int | float | bool | None
_PIECE_BYTES = 192 << 10  # divisible by three: the pieces' texts join to the text of the whole
_WHOLE = re.compile(r"-?[0-9]{1,9}", re.ASCII)  # fits into 32 bits
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,2})?", re.ASCII)
_NO_TIME = "0001-01-01T00:00:00Z"  # Go's zero


class Kind(Enum):
    """What a column of ours holds. All may be missing, save for a truth."""

    TEXT = "text"
    TIME = "time"
    WHOLE = "whole"
    NUMBER = "number"
    TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ours, and the attribute of the event that it shows."""

    name: str
    kind: Kind
    attribute: str


AGENT_COLUMNS = (
    *("url", "bytes", "contentType", "reqType", "id", "sourceUri", "inferenceService", "namespace", "component"),
    *("endpoint", "metadata", "annotations", "certName"),
)
SKIP_VERIFY = "tlsSkipVerify"  # the agent's last column, and the only one that is not text
EXTENSIONS = "extensions"  # our last: whatever else the event says, as JSON
OUR_COLUMNS = (
    Column("occurrenceTime", Kind.TIME, "time"),
    Column("recordedTime", Kind.TIME, words.RECORDED_TIME),
    Column("requestTime", Kind.TIME, words.REQUEST_TIME),
    Column("method", Kind.TEXT, words.METHOD),
    Column("path", Kind.TEXT, words.PATH),
    Column("statusCode", Kind.WHOLE, words.STATUS_CODE),
    Column("latencyMs", Kind.NUMBER, words.LATENCY_MS),
    Column("firstByteMs", Kind.NUMBER, words.FIRST_BYTE_MS),
    Column("contentEncoding", Kind.TEXT, words.CONTENT_ENCODING),
    Column("truncated", Kind.TRUTH, words.TRUNCATED),
    Column("sampleRate", Kind.NUMBER, words.SAMPLE_RATE),
    Column("revision", Kind.TEXT, words.REVISION),
    Column("requestId", Kind.TEXT, words.REQUEST_ID),
)
_OF_SERVICE = (words.INFERENCE_SERVICE, words.NAMESPACE, words.COMPONENT, words.ENDPOINT)
_SHOWN = frozenset((*_OF_SERVICE, words.METADATA, words.ANNOTATIONS, *[column.attribute for column in OUR_COLUMNS]))
# None for another program's word
_READ: Mapping[Kind, Callable[[str], Value]] = {
    Kind.TEXT: str,
    Kind.TIME: short_time,
    Kind.WHOLE: lambda text: int(text) if _WHOLE.fullmatch(text) else None,
    Kind.NUMBER: lambda text: float(text) if _NUMBER.fullmatch(text) else None,
    Kind.TRUTH: lambda text: text == "true",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One event, ready to be written.

    `texts` are the agent's text columns in their order, without `bytes`, which `body` is, in base64. `ours` are our
    columns in their order, and empty where only the agent's are wanted.
    """

    event: CloudEvent
    texts: Mapping[str, str]
    body: bytes
    ours: Mapping[str, Value]


class Records:
    """Makes records of one logger's events."""

    def __init__(self, delivery: Delivery, store: Store) -> None:
        log_url = GoUrl.parse(delivery.url)
        self.log_url_json = log_url.json()
        self.cert_name = delivery.ca_file.name
        self.skip_verify = delivery.tls_skip_verify
        self.kserve_compatible = store.kserve_compatible
        self._log_url_text = log_url.text(kserve_compatible=store.kserve_compatible)

    def of(self, event: CloudEvent) -> Record:
        """The record of one event. Long bodies let other threads in between."""
        key = ServiceKey.of(event)
        texts = {
            "url": self._log_url_text,
            "contentType": event.datacontenttype or "",
            "reqType": event.type,
            "id": event.id,
            "sourceUri": _source_text(event.source, self.kserve_compatible),
            "inferenceService": key.service,
            "namespace": key.namespace,
            "component": key.component,
            "endpoint": key.endpoint,
            "metadata": _json_map(event, words.METADATA),
            "annotations": _json_map(event, words.ANNOTATIONS),
            "certName": self.cert_name,
        }
        return Record(event, texts, _base64(event.data), {} if self.kserve_compatible else _ours(event))


@lru_cache(maxsize=16)  # a logger has one
def _source_text(source: str, kserve_compatible: bool) -> str:
    return GoUrl.parse(source).text(kserve_compatible=kserve_compatible)


def occurrence_time(event: CloudEvent) -> str:
    """The event's time as the agent's JSON has it, where it is never missing."""
    return short_time(event.time or _NO_TIME)


def _ours(event: CloudEvent) -> dict[str, Value]:
    values = {column.name: _value(column, event) for column in OUR_COLUMNS}
    others = {name: text for name, text in event.extensions.items() if name not in _SHOWN}
    return {**values, EXTENSIONS: json_text(others) if others else None}


def _value(column: Column, event: CloudEvent) -> Value:
    text = event.attribute(column.attribute)
    if text is None:
        return False if column.kind is Kind.TRUTH else None
    return _READ[column.kind](text)


def _json_map(event: CloudEvent, name: str) -> str:
    """A map that travels as JSON in an extension, as Go writes it; an empty one is no text at all."""
    try:
        found = json.loads(event.extensions.get(name) or "{}")
    except (ValueError, RecursionError):
        return ""
    return json_text(found) if isinstance(found, dict) and found else ""


def _base64(data: bytes) -> bytes:
    """In pieces, between which the event loop's thread may run: it would else wait while a long body is encoded."""
    if len(data) <= _PIECE_BYTES:
        return base64.b64encode(data)
    view, pieces = memoryview(data), []
    for start in range(0, len(data), _PIECE_BYTES):
        pieces.append(base64.b64encode(view[start : start + _PIECE_BYTES]))
        time.sleep(0)
    return b"".join(pieces)
