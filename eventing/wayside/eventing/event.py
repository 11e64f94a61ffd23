"""The one event type: a frozen CloudEvent (CloudEvents 1.0) whose data is opaque bytes.

Invariant: a relay never changes what it does not understand. Attributes are kept as the canonical strings of the
CloudEvents type system, data as the bytes that arrived; nothing is invented, reparsed or rounded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from wayside.eventing.errors import MalformedEvent

SPECVERSION = "1.0"
REQUIRED = ("id", "source", "type")
OPTIONAL = ("time", "datacontenttype", "dataschema", "subject")
_CONTEXT = frozenset((*REQUIRED, *OPTIONAL, "specversion", "data"))
_NAME = re.compile(r"[a-z0-9]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """One CloudEvent.

    Raises `MalformedEvent` when a required attribute is empty, a name is not allowed, an attribute holds a lone
    surrogate, or `datacontenttype` a control character: what was made can be sent.
    """

    id: str
    source: str
    type: str
    data: bytes = b""
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    subject: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.id and self.source and self.type):
            missing = next(name for name in REQUIRED if not getattr(self, name))
            raise MalformedEvent(f"required attribute '{missing}' is missing or empty")
        extensions = self.extensions
        _check_names(tuple(extensions))
        content_type = self.datacontenttype or ""
        if not content_type.isprintable():
            _check_type(content_type)
        core = self.id, self.source, self.type, self.time or "", content_type, self.dataschema or "", self.subject or ""
        text = "".join((*core, *extensions.values()))
        if not text.isascii():
            _check_text(text)

    @classmethod
    def trusted(
        cls,
        id: str,
        source: str,
        type: str,
        *,
        time: str | None,
        datacontenttype: str | None,
        data: bytes,
        extensions: Mapping[str, str],
    ) -> "CloudEvent":
        """The same event, unchecked, at a third of the cost: for whoever made every attribute itself, and so knows
        that `CloudEvent` would not have raised."""
        return cls._filled((id, source, type), (time, datacontenttype, None, None), data, extensions)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str], data: bytes) -> "CloudEvent":
        """Build an event from all of its context attributes in one mapping, `specversion` included."""
        version = attributes.get("specversion")
        if version != SPECVERSION:
            raise MalformedEvent(
                f"specversion {version!r} is not supported: send '1.0'"
                if version
                else "required attribute 'specversion' is missing or empty"
            )
        rest = dict(attributes)
        take = rest.pop
        take("specversion")
        required = take("id", ""), take("source", ""), take("type", "")
        optional = take("time", None), take("datacontenttype", None), take("dataschema", None), take("subject", None)
        event = cls._filled(required, optional, data, rest)
        event.__post_init__()
        return event

    @classmethod
    def _filled(
        cls,
        required: tuple[str, str, str],
        optional: tuple[str | None, str | None, str | None, str | None],
        data: bytes,
        extensions: Mapping[str, str],
    ) -> "CloudEvent":
        """An event that is not checked yet, in the order of `REQUIRED` and `OPTIONAL`; half as dear as `__init__`."""
        event = object.__new__(cls)
        _set_id(event, required[0])
        _set_source(event, required[1])
        _set_type(event, required[2])
        _set_data(event, data)
        _set_time(event, optional[0])
        _set_datacontenttype(event, optional[1])
        _set_dataschema(event, optional[2])
        _set_subject(event, optional[3])
        _set_extensions(event, extensions)
        return event

    def attributes(self) -> Iterator[tuple[str, str]]:
        """Every context attribute that is set, as (name, value), `specversion` first and extensions last."""
        given = [("specversion", SPECVERSION), ("id", self.id), ("source", self.source), ("type", self.type)]
        if self.time is not None:
            given.append(("time", self.time))
        if self.datacontenttype is not None:
            given.append(("datacontenttype", self.datacontenttype))
        if self.dataschema is not None:
            given.append(("dataschema", self.dataschema))
        if self.subject is not None:
            given.append(("subject", self.subject))
        given += self.extensions.items()
        return iter(given)

    def attribute(self, name: str) -> str | None:
        """One context attribute by name, or None where the event does not have it."""
        if name == "specversion":
            return SPECVERSION
        if name in REQUIRED or name in OPTIONAL:
            value: str | None = getattr(self, name)
            return value
        return self.extensions.get(name)

    def with_extensions(self, **changed: str | None) -> "CloudEvent":
        """The same event with extensions set, or removed where the value is None."""
        merged = {**self.extensions, **changed}
        kept = {name: value for name, value in merged.items() if value is not None}
        required = self.id, self.source, self.type
        optional = self.time, self.datacontenttype, self.dataschema, self.subject
        event = self._filled(required, optional, self.data, kept)
        event.__post_init__()
        return event

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies an event everywhere: (source, id, type)."""
        return self.source, self.id, self.type

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data: two events with one key and different digests are not the same event."""
        return sha256(self.data).digest()


# the slots' own setters, past the class's that raises: frozen once made
_set_id, _set_source, _set_type = (getattr(CloudEvent, name).__set__ for name in REQUIRED)
_set_time, _set_datacontenttype, _set_dataschema, _set_subject = (
    getattr(CloudEvent, name).__set__ for name in OPTIONAL
)
_set_data, _set_extensions = (getattr(CloudEvent, name).__set__ for name in ("data", "extensions"))


@lru_cache(maxsize=256)
def _check_names(names: tuple[str, ...]) -> None:
    """Raises `MalformedEvent`. Most events have the names of the one before."""
    for name in names:
        if name in _CONTEXT or _NAME.fullmatch(name) is None:
            raise MalformedEvent(f"extension name {name[:64]!r} is not allowed: use a-z and 0-9")


def _check_type(datacontenttype: str) -> None:
    if _CONTROL.search(datacontenttype):
        raise MalformedEvent(f"datacontenttype {datacontenttype[:64]!r} holds a control character")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise MalformedEvent("an attribute holds a lone surrogate, which no encoding can carry") from exc


def header_text(value: bytes) -> str:
    """An attribute as a header carries it, in UTF-8. Raises `MalformedEvent`."""
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise MalformedEvent(f"a header holds bytes that are not UTF-8: {value[:64]!r}") from exc
