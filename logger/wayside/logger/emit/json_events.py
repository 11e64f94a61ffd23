"""Events in JSON, for messages of several, files and standard output: encoded in turns of the loop.

Source: CloudEvents 1.0 JSON event format, sections 3 and 4.
Invariant: `json_format.decode` of what was encoded is an equal event, data byte for byte; an encoded line has no break.

JSON data stands in the envelope as it is, which takes a look at all of it. Data over `EMBEDDED_LIMIT` travels as
base64, which costs the loop that serves clients a hundredth of that.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Sequence

from wayside.eventing import json_format
from wayside.eventing.event import CloudEvent

EMBEDDED_LIMIT = 64 << 10
_TURN_BYTES = 32 << 10  # half a millisecond of looking at JSON
_ATTRIBUTES_BYTES = 1024


def encode_member(event: CloudEvent) -> bytes:
    """The event as a member of an array."""
    return json_format.encode(event) if len(event.data) <= EMBEDDED_LIMIT else _with_base64(event)


def encode_line(event: CloudEvent) -> bytes:
    """The event as a line, with its end. JSON data that was written in several lines travels as base64."""
    is_one_line = b"\n" not in event.data and b"\r" not in event.data
    return (encode_member(event) if is_one_line else _with_base64(event)) + b"\n"


def _with_base64(event: CloudEvent) -> bytes:
    envelope = json.dumps(dict(event.attributes()), ensure_ascii=False).encode()
    return b'%s, "data_base64": "%s"}' % (envelope[:-1], b64encode(event.data))


async def wait_encoded(events: Sequence[CloudEvent], encode: Callable[[CloudEvent], bytes]) -> list[bytes]:
    """Encode all of them; whatever else the loop has to do comes in between."""
    encoded: list[bytes] = []
    turn_bytes = 0
    for event in events:
        encoded.append(encode(event))
        turn_bytes += len(event.data) + _ATTRIBUTES_BYTES
        if turn_bytes > _TURN_BYTES:
            turn_bytes = 0
            await asyncio.sleep(0)
    return encoded
