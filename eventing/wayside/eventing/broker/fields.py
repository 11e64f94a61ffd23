"""Reads fields out of a YAML document, each with its place for the error.

Invariant: a field that is there is used or refused, never passed over; an error names file, document and field.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Fields:
    """One mapping of a document. `where` names file and document, `path` the way from the document's root."""

    values: Mapping[str, Any]
    where: str
    path: str = ""

    def fail(self, name: str, problem: str) -> NoReturn:
        """Raise the `ConfigurationError` of one field."""
        raise ConfigurationError(f"{self.where}: {self._at(name)}: {problem}")

    def allow(self, names: Iterable[str]) -> None:
        """Refuse any field but these."""
        known = sorted(names)
        for name in self.values:
            if name not in known:
                self.fail(str(name), f"is not supported here; known are {', '.join(known)}")

    def child(self, name: str) -> "Fields | None":
        """A mapping inside this one; None where it is absent or null."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fail(name, f"must be a mapping, not {_kind(value)}")
        return Fields(value, self.where, self._at(name))

    def text(self, name: str, default: str | None = None) -> str:
        """A string that is not empty; required where there is no default."""
        value = self.values.get(name)
        if value is None:
            if default is None:
                self.fail(name, "is missing")
            return default
        if not isinstance(value, str):
            self.fail(name, f"must be text, not {_kind(value)}; put it in quotes")
        return value or self.fail(name, "is empty")

    def count(self, name: str, default: int) -> int:
        """An integer from 0."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.fail(name, f"must be an integer from 0, not {value!r}")
        return value

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _kind(value: object) -> str:
    return {"dict": "a mapping", "list": "a list", "bool": "a boolean", "int": "a number", "float": "a number"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )
