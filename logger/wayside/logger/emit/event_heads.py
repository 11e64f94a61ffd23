"""The head of a request that posts one event in binary mode, written at one go.

Source: CloudEvents 1.0 HTTP protocol binding, section 3.1; Go's net/http for values as they are.
Invariant: what a value holds never ends its line; percent-encoded, the head holds the same headers as `encode_binary`.

An event's attributes differ, their names hardly: a head is a template by its names, filled with the values. Whether any
value needs an escape is asked of all of them at once.
"""

import re
from collections.abc import Callable

from wayside.eventing.event import OPTIONAL, REQUIRED, SPECVERSION, CloudEvent
from wayside.eventing.http_binding import encode_binary, escape
from wayside.eventing.json_format import holds_events

_TEMPLATES_LIMIT = 256
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_Write = Callable[[str], str]
_WRITTEN = tuple(name for name in (*REQUIRED, *OPTIONAL) if name != "datacontenttype")


def raw_value(value: str) -> str:
    """A value as it is, but for the control characters that no header may hold: those are percent-encoded."""
    return _BREAKS.sub(lambda match: f"%{ord(match[0]):02X}", value)


def escaped_value(value: str) -> str:
    """A value as the binding has it."""
    return escape(value).decode()


class HeadWriter:
    """Writes heads for one target. With `raw_values`, attributes travel as they are, as KServe's agent writes them."""

    def __init__(self, target: str, host: str, authorization: str = "", *, raw_values: bool = False) -> None:
        who = f"authorization: {authorization}\r\n" if authorization else ""
        self._start = f"POST {target} HTTP/1.1\r\nhost: {host}\r\n{who}"
        self._templates: dict[tuple[object, ...], str] = {}
        self._write: _Write = raw_value if raw_values else escaped_value
        self._is_plain = _is_plain_raw if raw_values else _is_plain

    def message(self, event: CloudEvent) -> tuple[bytes, bytes]:
        """Head and body of an event."""
        kind, extensions = event.datacontenttype, event.extensions
        if kind is not None and holds_events(kind):
            return self.plain_message(*encode_binary(event))
        time, schema, subject = event.time, event.dataschema, event.subject
        if time is not None and schema is None and subject is None:  # as the logger makes them
            values = [event.id, event.source, event.type, time, *extensions.values()]
        else:
            given = (event.id, event.source, event.type, time, schema, subject, *extensions.values())
            values = [value for value in given if value is not None]
        shape = (kind is None, time is None, schema is None, subject is None, *extensions)
        template = self._templates.get(shape) or self._template(event, shape)
        if not self._is_plain(values):
            values = [self._write(value) for value in values]
        if kind is not None:
            values.append(kind)
        return (template % (*values, len(event.data))).encode(), event.data

    def plain_message(self, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[bytes, bytes]:
        """Head and body of a message with the headers given, which hold no line breaks."""
        lines = b"".join([b"%s: %s\r\n" % header for header in headers])
        return b"%s%scontent-length: %d\r\n\r\n" % (self._start.encode(), lines, len(body)), body

    def _template(self, event: CloudEvent, shape: tuple[object, ...]) -> str:
        names = [name for name in _WRITTEN if getattr(event, name) is not None] + list(event.extensions)
        lines = [f"ce-{name}: %s\r\n" for name in names]
        if event.datacontenttype is not None:
            lines.append("content-type: %s\r\n")
        start = self._start.replace("%", "%%")
        template = f"{start}ce-specversion: {SPECVERSION}\r\n{''.join(lines)}content-length: %d\r\n\r\n"
        if len(self._templates) >= _TEMPLATES_LIMIT:
            self._templates.clear()
        self._templates[shape] = template
        return template


def _is_plain(values: list[str]) -> bool:
    """Whether `escape` would change none of the values; False may be wrong, True never is."""
    text = "|".join(values)
    if not (text.isascii() and text.isprintable()) or "%" in text:
        return False
    text = f"|{text}|"
    return not ("| " in text or '|"' in text or " |" in text)


def _is_plain_raw(values: list[str]) -> bool:
    text = "".join(values)
    return text.isprintable() or _BREAKS.search(text) is None
