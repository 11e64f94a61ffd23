"""Records as documents, in the shape that Seldon's request logger wrote: one a row, joined from its parts.

Invariant: a document is a pure function of the parts that have come so far, whatever their order, and always valid
JSON. A row's document holds that row alone, never the batch it came in.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.payloads.payload import Limits, Payload
from wayside.eventing.vocabulary import (
    CLIENT_EVENT_ID,
    GRPC_STATUS,
    LATENCY_MS,
    REDACTION,
    REDACTION_STATES,
    REQUEST_ID,
    REVISION,
    STATUS_CODE,
    TRUNCATED,
    ServiceKey,
)

SERVING_ENGINE = "inferenceservice"
Document = dict[str, Any]
SERVICE_FIELDS = ("Ce-Inferenceservicename", "Ce-Namespace", "Ce-Component", "Ce-Endpoint")
HEAD_FIELDS = ("RequestId", "@timestamp", "ServingEngine", *SERVICE_FIELDS, "revision", "requestid", "clientceid")
ROWS_LIMIT = 1_000_000  # of one event
_NAMES_LIMIT = 64 << 20  # characters that the names of columns take in one event's records
_DEPTH_LIMIT = 64
_NO_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_INTEGER_BITS_LIMIT = 3300  # under the 1000 digits that Elasticsearch's parser takes of a number
_LIMITS = Limits(rows=ROWS_LIMIT)
# ASCII, so that a lone surrogate in a payload stays an escape, which every store can keep
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_TOO_DEEP = "(nested too deep to be shown)"


class RowPart(NamedTuple):
    """What a request or a response says of one row: that side of the document."""

    row: int
    side: Document

    @property
    def text(self) -> str:
        """The side as JSON."""
        return dump(self.side)


class RecordHead(NamedTuple):
    """What all rows of one inference share."""

    source: str
    event_id: str
    time: str
    key: ServiceKey
    revision: str | None
    request_id: str | None
    client_event_id: str | None

    @classmethod
    def of(cls, event: CloudEvent, time: str) -> "RecordHead":
        """From a request or a response; `time` is the request's."""
        extensions = event.extensions
        named = (extensions.get(name) for name in (REVISION, REQUEST_ID, CLIENT_EVENT_ID))
        return cls(event.source, event.id, time, ServiceKey.of(event), *named)

    def fields(self) -> Document:
        """The fields at the top of a document, those that are known."""
        key = self.key
        names = (key.service, key.namespace, key.component, key.endpoint)
        client = (self.revision, self.request_id, self.client_event_id)
        values = (self.event_id, self.time, SERVING_ENGINE, *names, *client)
        return {name: value for name, value in zip(HEAD_FIELDS, values, strict=True) if value is not None}


def row_parts(event: CloudEvent) -> list[RowPart]:
    """A request's or a response's rows.

    A payload that cannot be split, or has over `ROWS_LIMIT` rows, is one row, whole, as JSON, text or base64.
    """
    try:
        names, values = _rows_of(decode(message_of(event), _LIMITS))
    except MalformedEvent:
        names, values = (), [_raw(event.data)]
    return [RowPart(row, _side(event, names, value)) for row, value in enumerate(values)]


def _rows_of(payload: Payload) -> tuple[Sequence[str], list[Any]]:
    """The names of a payload's values, and each row's; no names where these, once a row, would be many times what was
    sent: a client chooses both.
    """
    names, values = payload.names, payload.row_values()
    if len(values) * sum(map(len, names)) <= _NAMES_LIMIT:
        return names, values
    return (), [list(row.values()) for row in values] if payload.has_objects else values


def _side(event: CloudEvent, names: Sequence[str], value: Any) -> Document:
    instance = json_safe(value)
    side: Document = {"instance": instance, "dataType": data_type(value)}
    elements = _elements(names, instance)
    if elements is not None:
        side["elements"] = elements
    if names:
        side["names"] = list(names)
    side["ce-time"], side["ce-source"], side["ce-id"] = event.time, event.source, event.id
    return side | _outcome(event.extensions)


def _outcome(said: Mapping[str, str]) -> Document:
    """How the inference went, as far as the logger says: without it an error's text could pass for a prediction."""
    outcome: Document = {}
    if re.fullmatch(r"[1-5]\d\d", said.get(STATUS_CODE, ""), re.ASCII):
        outcome[STATUS_CODE] = int(said[STATUS_CODE])
    if re.fullmatch(r"\d{1,3}", said.get(GRPC_STATUS, ""), re.ASCII):
        outcome[GRPC_STATUS] = int(said[GRPC_STATUS])
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", said.get(LATENCY_MS, ""), re.ASCII):
        outcome[LATENCY_MS] = float(said[LATENCY_MS])
    if said.get(TRUNCATED) == "true":
        outcome[TRUNCATED] = True
    if said.get(REDACTION) in REDACTION_STATES:
        outcome[REDACTION] = said[REDACTION]
    return outcome


def _elements(names: Sequence[str], value: Any) -> Mapping[str, Any] | None:
    """A row's values by the names of its columns, where it has such."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and names and len(names) == len(value):
        return dict(zip(names, value, strict=True))
    return None


def _raw(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def data_type(value: Any) -> str:
    """Seldon's name for what a row is: number, text, tabular (a flat list), image (a nested one), else json."""
    if isinstance(value, bool | int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list) and value:
        return "image" if isinstance(value[0], list) else "tabular"
    return "json"


def json_safe(value: Any, levels: int = _DEPTH_LIMIT) -> Any:
    """The value with NaN, infinities and integers of a thousand digits as text, and words for what lies too deep."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _NO_NUMBERS[str(value)]
    if isinstance(value, list):
        return [json_safe(item, levels - 1) for item in value] if levels else _TOO_DEEP
    if isinstance(value, dict):
        return {name: json_safe(item, levels - 1) for name, item in value.items()} if levels else _TOO_DEEP
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS_LIMIT:
        return str(value)
    return value


def dump(value: Document) -> str:
    """JSON in ASCII. Raises `ValueError` for a number that JSON cannot carry."""
    return _JSON.encode(value)
