"""What the redaction's tests share: events as the logger captures them, and rules applied to them."""

import json
from typing import Any

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import METADATA, REQUEST, RESPONSE
from wayside.logger.redaction.redactor import Redactor
from wayside.logger.redaction.residue import Residue
from wayside.logger.redaction.rules import parse_rule
from wayside.logger.settings import Redacted

KEY = b"sixteen bytes or more"
MASK = "***"
JSON = "application/json"


def event_with(
    data: bytes, content_type: str | None = JSON, kind: str = REQUEST, metadata: str = "{}", **extensions: str
) -> CloudEvent:
    return CloudEvent("7", "pod", kind, data, None, content_type, extensions={METADATA: metadata, **extensions})


def answer_with(data: bytes, content_type: str = JSON, **extensions: str) -> CloudEvent:
    return event_with(data, content_type, RESPONSE, **extensions)


def redacted(event: CloudEvent, *rules: str) -> CloudEvent:
    return Redactor([parse_rule(rule) for rule in rules], KEY).redact(event)


def redacted_json(body: Any, *rules: str) -> Any:
    """What becomes of a JSON body."""
    return json.loads(redacted(event_with(json.dumps(body).encode()), *rules).data)


def hashed(value: Any) -> str:
    return Residue(KEY).plain(Redacted.HASH, value)
