"""Header rules: on the headers that travel in `metadata`, and on the extensions that carry a header of their own.

Source: `capture.events` says which header stands behind which extension; W3C trace context.
Invariant: where `metadata` cannot be read, nothing of it is left.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from wayside.eventing import vocabulary as words
from wayside.eventing.event import CloudEvent
from wayside.logger.redaction.residue import Residue
from wayside.logger.settings import Redacted

_BEHIND: Final = {"x-request-id": words.REQUEST_ID, "ce-id": words.CLIENT_EVENT_ID}
_TRACE: Final = {"traceparent": (words.TRACE_PARENT, words.TRACE_STATE), "tracestate": (words.TRACE_STATE,)}

# What every extension that may hold what a client sent in a header becomes where nothing is known of it.
NOTHING: Final[Mapping[str, str | None]] = {
    words.METADATA: "{}",
    words.REQUEST_ID: None,
    words.CLIENT_EVENT_ID: None,
    words.TRACE_PARENT: None,
    words.TRACE_STATE: None,
}


def changed_extensions(event: CloudEvent, headers: Mapping[str, Redacted], residue: Residue) -> dict[str, str | None]:
    """The extensions that the rules change, with their new values, None where one is removed.

    A trace context goes whatever the rule leaves: `***` is none.
    """
    changed = dict[str, str | None]()
    for name, extension in _BEHIND.items():
        value = event.extensions.get(extension)
        if name in headers and value is not None:
            left = headers[name]
            changed[extension] = None if left is Redacted.DROP else residue.plain(left, value)
    for name, extensions in _TRACE.items():
        if name in headers:
            changed.update((extension, None) for extension in extensions if extension in event.extensions)
    metadata = event.extensions.get(words.METADATA)
    if headers and metadata is not None:
        new = _metadata(metadata, headers, residue)
        changed.update({words.METADATA: new} if new != metadata else {})
    return changed


def _metadata(text: str, headers: Mapping[str, Redacted], residue: Residue) -> str:
    try:
        sent = json.loads(text)
    except (ValueError, RecursionError):
        return "{}"
    if not isinstance(sent, dict):
        return "{}"
    if headers.keys().isdisjoint(map(str.lower, sent)):
        return text
    kept = {name: _values(values, headers.get(name.lower()), residue) for name, values in sent.items()}
    return json.dumps({name: values for name, values in kept.items() if values is not None}, separators=(",", ":"))


def _values(values: Any, left: Redacted | None, residue: Residue) -> Any:
    """A header's values: as they are without a rule, None where they are dropped."""
    if left is None:
        return values
    if left is Redacted.DROP:
        return None
    return [residue.plain(left, value) for value in (values if isinstance(values, list) else [values])]
