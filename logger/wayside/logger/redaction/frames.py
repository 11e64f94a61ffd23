"""What passes between the logger and its second process: a length for each of two parts, then the parts.

Invariant: nothing is unpickled, and no length makes a reader take more than `LIMIT_BYTES`.
"""

import json
import struct
from typing import Final, NamedTuple

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

_LENGTHS: Final = struct.Struct(">II")
PREFIX_BYTES: Final = _LENGTHS.size
LIMIT_BYTES: Final = 512 << 20


class Frame(NamedTuple):
    """`head` is JSON; `data` is opaque."""

    head: bytes
    data: bytes

    @property
    def prefix(self) -> bytes:
        return _LENGTHS.pack(len(self.head), len(self.data))


def lengths(prefix: bytes) -> tuple[int, int]:
    """How long the head and the data behind a prefix are. Raises `MalformedEvent` where they are beyond the limit."""
    head_bytes, data_bytes = _LENGTHS.unpack(prefix)
    if head_bytes + data_bytes > LIMIT_BYTES:
        raise MalformedEvent(f"a frame of {head_bytes + data_bytes} bytes, the limit is {LIMIT_BYTES}")
    return head_bytes, data_bytes


def frame_of(event: CloudEvent) -> Frame:
    """An event as a frame: its attributes in the head."""
    return Frame(json.dumps(dict(event.attributes()), separators=(",", ":")).encode(), event.data)


def event_of(frame: Frame) -> CloudEvent:
    """The event in a frame. Raises `MalformedEvent`, whose words quote nothing of it."""
    try:
        return CloudEvent.from_attributes(json.loads(frame.head), frame.data)
    except (MalformedEvent, ValueError, TypeError, AttributeError) as exc:
        raise MalformedEvent("a frame holds no event") from exc
