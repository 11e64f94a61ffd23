"""A stream of server-sent events: the JSON of each is edited where it stands, and all lines around it are kept.

Source: WHATWG HTML, "Server-sent events", on lines and fields; OpenAI's API reference, "Streaming" (`[DONE]`).
Invariant: a line that is no field of the standard's, and data that is no JSON, are refused: they could hold anything.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from wayside.eventing.errors import MalformedPayload

STARTS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_LINE: Final = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|\Z)")
_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_KEPT: Final = frozenset({b"event", b"id", b"retry"})


def replaced(body: bytes, edited: Callable[[bytes], bytes | None]) -> bytes | None:
    """The stream with each event's JSON as `edited` gives it, None where nothing was edited; comments lose their text.

    Raises `MalformedPayload` as `edited` does, and for an event whose data is on several lines.
    """
    bom = _BOM if body.startswith(_BOM) else b""
    new = bom + b"".join(_lines(body, len(bom), edited))
    return None if new == body else new


def _lines(body: bytes, start: int, edited: Callable[[bytes], bytes | None]) -> Iterator[bytes]:
    has_data = False
    for line in _LINE.finditer(body, start):
        text, end = line.groups()
        name, _, value = text.partition(b":")
        if name == b"data":
            if has_data:
                raise MalformedPayload("an event of the stream has its data on several lines")
            has_data = True
            yield _new_data(text, value, edited) + end
        elif not text:
            has_data = False
            yield end
        elif not name:
            yield b":" + end
        elif name in _KEPT:
            yield text + end
        else:
            raise MalformedPayload("a line of the stream is no field of server-sent events")


def _new_data(line: bytes, value: bytes, edited: Callable[[bytes], bytes | None]) -> bytes:
    value = value.removeprefix(b" ")
    new = None if value.strip() in (b"", _DONE) else edited(value)
    return line if new is None else line[: len(line) - len(value)] + new
