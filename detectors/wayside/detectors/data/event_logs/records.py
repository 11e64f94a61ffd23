"""The records that a payload logger keeps in buckets and folders, as the events that they were made of.

Source: docs/log-store.md; kserve/kserve cmd/agent/marshaller_record.go.
Invariant: a record of KServe's agent is read as well as one of ours; nothing of a record is needed but its id, its
type and its body.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wayside.eventing import vocabulary as words
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

MARKS = frozenset(("bytes", "reqType", "id"))
_EXTENSIONS: Mapping[str, str] = {
    "inferenceService": words.INFERENCE_SERVICE,
    "namespace": words.NAMESPACE,
    "component": words.COMPONENT,
    "endpoint": words.ENDPOINT,
    "metadata": words.METADATA,
    "requestTime": words.REQUEST_TIME,
    "statusCode": words.STATUS_CODE,
    "contentEncoding": words.CONTENT_ENCODING,
    "truncated": words.TRUNCATED,
}


def is_record(members: Any) -> bool:
    """Whether an object, or a list of columns' names, is that of a record."""
    return isinstance(members, dict | list | tuple) and set(members) >= MARKS


def event_of_record(record: Mapping[str, Any]) -> CloudEvent:
    """The event in a record, as JSON, CSV or Parquet give it. Raises `MalformedEvent`."""
    said = {name: _text(record.get(column)) for column, name in _EXTENSIONS.items()}
    try:
        body = base64.b64decode(_text(record["bytes"]), validate=True)
        others = json.loads(_text(record.get("extensions")) or "{}")
        return CloudEvent(
            id=_text(record["id"]),
            source=_text(record.get("sourceUri")) or "/",
            type=_text(record["reqType"]),
            time=_text(record.get("occurrenceTime")) or None,
            datacontenttype=_text(record.get("contentType")) or None,
            data=body,
            extensions={**{name: str(value) for name, value in others.items()}, **_present(said)},
        )
    except (KeyError, AttributeError, ValueError, binascii.Error, RecursionError) as exc:
        raise MalformedEvent(f"it is no record of a logged event ({exc})") from exc


def _present(said: Mapping[str, str]) -> Mapping[str, str]:
    return {name: text for name, text in said.items() if text}


def _text(value: Any) -> str:
    """A cell as text: what is missing is empty, a truth is in lower case, what is an object is JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
