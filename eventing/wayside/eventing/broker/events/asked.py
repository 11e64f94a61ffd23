"""Reads the fields of what the admin port was asked, from a URL's query or from a JSON object.

Invariant: a field that nobody took is refused, never ignored: a misspelt bound would otherwise mean all events.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wayside.eventing.http.admin import BadRequest

_SHOWN = 80


class Asked:
    """The fields that were given. Each `take…` raises `BadRequest` with the field's name, and `end` names the rest."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._left = dict(fields)
        self._taken: list[str] = []

    def take(self, name: str) -> Any:
        """The value as it came, None where the field was not given."""
        self._taken.append(name)
        return self._left.pop(name, None)

    def take_text(self, name: str) -> str | None:
        value = self.take(name)
        if value is not None and not (isinstance(value, str) and value):
            raise BadRequest(f"{name}: {_show(value)} is not a text")
        return value

    def take_whole(self, name: str, least: int, most: int) -> int | None:
        """An integer within bounds; in a query it is text."""
        value = self.take(name)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            value = int(value)
        if value is not None and not (type(value) is int and least <= value <= most):
            raise BadRequest(f"{name}: {_show(value)} is not a whole number from {least} to {most}")
        return value

    def take_flag(self, name: str) -> bool:
        """False where the field was not given; in a query it is text."""
        value = {"true": True, "false": False}.get(text, text) if isinstance(text := self.take(name), str) else text
        if value is not None and not isinstance(value, bool):
            raise BadRequest(f"{name}: {_show(value)} is neither true nor false")
        return bool(value)

    def take_choice(self, name: str, choices: Sequence[str]) -> str:
        """One of the words; the first where the field was not given."""
        value = self.take(name)
        if value is None:
            return choices[0]
        if value not in choices:
            raise BadRequest(f"{name}: {_show(value)} is none of {', '.join(choices)}")
        return str(value)

    def take_positions(self, name: str, limit: int) -> list[int] | None:
        """Whole numbers, `limit` at most."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(one) is int and 0 <= one < 1 << 63 for one in value):
            raise BadRequest(f"{name}: {_show(value)} is not a list of positions")
        if len(value) > limit:
            raise BadRequest(f"{name}: {len(value)} positions are more than {limit}: ask for them in parts")
        return value

    def end(self) -> None:
        """Raises `BadRequest` for fields that nobody took."""
        if self._left:
            unknown = ", ".join(repr(name[:_SHOWN]) for name in list(self._left)[:8])
            raise BadRequest(f"unknown field {unknown}: there are {', '.join(self._taken)}")


def _show(value: object) -> str:
    return repr(value)[:_SHOWN]
