"""Data compressed with gzip, where that makes it smaller.

Source: RFC 1952; RFC 9110 §8.4, whose `gzip` the extension `contentencoding` says.
Invariant: the same data gives the same bytes: no time stands in them.
"""

import gzip
from dataclasses import replace
from typing import Final

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import CONTENT_ENCODING

_LEVEL: Final = 6
_LEAST_BYTES: Final = 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"


def compressed(event: CloudEvent) -> CloudEvent:
    """The event with its data compressed; the very event where that is short, encoded already, or would grow."""
    data = event.data
    if len(data) < _LEAST_BYTES or CONTENT_ENCODING in event.extensions or data.startswith(_GZIP_MAGIC):
        return event
    packed = gzip.compress(data, _LEVEL, mtime=0)
    if len(packed) >= len(data):
        return event
    return replace(event.with_extensions(**{CONTENT_ENCODING: "gzip"}), data=packed)
