"""Reads fields out of a YAML document, each with its place for the error.

Invariant: a field that is there is used or refused, never passed over; an error names file, line, column, document and
field.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.triggers.node import Entry, Node, Place, Scalar

_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Origin:
    """The file of a document, and which of its documents it is."""

    file: str
    document: str


@dataclass(frozen=True, slots=True)
class Fields:
    """One mapping of a document, in `node`; `path` is the way to it from the document's root."""

    node: Node
    origin: Origin
    path: str = ""

    @property
    def where(self) -> str:
        """File, line, column and document, for errors and logs."""
        return self._where(self.node.place)

    def names(self) -> Iterator[Scalar]:
        """Every key, whatever its type."""
        return iter(self._entries)

    @property
    def is_empty(self) -> bool:
        """Whether the mapping has no field at all."""
        return not self._entries

    def has(self, name: str) -> bool:
        """Whether the field is there, and not null."""
        return self._node(name) is not None

    def fail(self, name: str, problem: str) -> NoReturn:
        """Raise the `ConfigurationError` of one field, at its value; where it is missing, at this mapping."""
        node = self._node(name) or self.node
        raise ConfigurationError(f"{self._where(node.place)}: {self._at(name)}: {problem}")

    def fail_key(self, name: Scalar, problem: str) -> NoReturn:
        """Raise the `ConfigurationError` of a field that should not be there, at its key."""
        raise ConfigurationError(f"{self._where(self._entries[name].key)}: {self._at(shown(name))}: {problem}")

    def refuse(self, problem: str) -> NoReturn:
        """Raise the `ConfigurationError` of this mapping as a whole."""
        raise ConfigurationError(f"{self.where}: {self.path}: {problem}")

    def allow(self, names: Iterable[str]) -> None:
        """Refuse any field but these."""
        known = sorted(names)
        for name in self.names():
            if name not in known:
                self.fail_key(name, f"is not supported here; known are {', '.join(known)}")

    def child(self, name: str) -> "Fields | None":
        """A mapping inside this one; None where it is absent or null."""
        node = self._node(name)
        return None if node is None else self._mapping(name, node)

    def children(self, name: str) -> "list[Fields]":
        """The mappings of a list; none where it is absent or null."""
        node = self._node(name)
        if node is None:
            return []
        if not isinstance(node.value, tuple):
            self.fail(name, f"must be a list, not {node.kind}")
        return [self._mapping(f"{name}[{index}]", one) for index, one in enumerate(node.value)]

    def text(self, name: str, default: str | None = None) -> str:
        """A string that is not empty; required where there is no default."""
        if default is not None and not self.has(name):
            return default
        return self.any_text(name) or self.fail(name, "is empty")

    def any_text(self, name: str) -> str:
        """A string that must be there and may be empty."""
        node = self._node(name) or self.fail(name, "is missing")
        if not isinstance(node.value, str):
            written = f" ({shown(node.text)}): put it in quotes" if node.text else ""
            self.fail(name, f"must be text, not {node.kind}{written}")
        return node.value

    def count(self, name: str, default: int) -> int:
        """An integer from 0."""
        node = self._node(name)
        if node is None:
            return default
        if not isinstance(node.value, int) or isinstance(node.value, bool) or node.value < 0:
            self.fail(name, f"must be an integer from 0, not {_written(node)}")
        return node.value

    @property
    def _entries(self) -> Mapping[Scalar, Entry]:
        entries: Any = self.node.value
        assert isinstance(entries, Mapping)
        return entries

    def _node(self, name: str) -> Node | None:
        entry = self._entries.get(name)
        return None if entry is None or entry.node.value is None else entry.node

    def _mapping(self, name: str, node: Node) -> "Fields":
        if not isinstance(node.value, Mapping):
            raise ConfigurationError(f"{self._where(node.place)}: {self._at(name)}: must be a mapping, not {node.kind}")
        return Fields(node, self.origin, self._at(name))

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _where(self, place: Place) -> str:
        return f"{self.origin.file}:{place.line}:{place.column}: {self.origin.document}"


def shown(name: Scalar) -> str:
    """A key as errors show it: on one line, and cut where it is long."""
    text = str(name)
    return text if len(text) <= _SHOWN_CHARACTERS and text.isprintable() else repr(text[:_SHOWN_CHARACTERS])


def _written(node: Node) -> str:
    """A value as it was written, text in quotes; a list or mapping by its kind."""
    text = node.text[:_SHOWN_CHARACTERS]
    return repr(text) if isinstance(node.value, str) else text or node.kind
