"""Edits of a JSON text in place: what is not edited keeps every byte, spaces, digits and escapes included.

Source: RFC 8259; Python's own scanner finds where a value ends.
Invariant: applied to a document that was read strictly before (`payloads.json_body.load`), the result is JSON, and of
the original it holds exactly what no edit replaced or removed.
"""

import json
import re
from typing import Final

# By member's name or element's index: the new JSON text, None where it is removed, or the edits inside it.
Edits = dict[str | int, "str | Edits | None"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_BOM: Final = "\ufeff"
_KEPT: Final = ""  # no JSON text is empty


def put(edits: Edits, key: str | int, edit: str | None) -> None:
    """Replace or remove a whole value, unless that was decided before; edits inside it go with it."""
    if isinstance(edits.get(key, {}), dict):
        edits[key] = edit


def inside(edits: Edits, *path: str | int) -> Edits | None:
    """The edits inside a value, to be added to; None where the value, or one that holds it, is replaced already."""
    for key in path:
        inner = edits.setdefault(key, {})
        if not isinstance(inner, dict):
            return None
        edits = inner
    return edits


def apply(body: bytes, edits: Edits) -> bytes:
    """The document with its edits. `body` is UTF-8, with or without a byte order mark, and was read strictly before."""
    text = body.decode()
    start = _after_space(text, 1 if text.startswith(_BOM) else 0)
    new, end = _Editor(text).edited(start, edits)
    return f"{text[:start]}{new}{text[end:]}".encode()


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Editor:
    """Walks down the edited paths of a text, and skips the rest at the scanner's speed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scan = json.JSONDecoder().raw_decode

    def edited(self, at: int, edits: Edits) -> tuple[str, int]:
        """The object or array that begins at `at`, with its edits, and where it ended."""
        text, kept, at_item = self._text, list[str](), at + 1
        is_object = text[at] == "{"
        position = _after_space(text, at_item)
        index = 0
        while text[position] not in "}]":
            key, position = self._name(position) if is_object else (index, position)
            segment, position = self._item(at_item, position, edits.get(key, _KEPT))
            if segment is not None:
                kept.append(segment)
            if text[position] == ",":
                at_item = position + 1
                position = _after_space(text, at_item)
            index += 1
        return f"{text[at]}{','.join(kept)}{text[position]}", position + 1

    def _name(self, position: int) -> tuple[str, int]:
        """A member's name, and where its value begins."""
        name, end = self._scan(self._text, position)
        return name, _after_space(self._text, _after_space(self._text, end) + 1)

    def _item(self, start: int, value_at: int, edit: str | Edits | None) -> tuple[str | None, int]:
        """What becomes of an item with the space around it, and where the next comma or bracket is."""
        text, new = self._text, edit
        if isinstance(edit, dict):
            new, end = self.edited(value_at, edit)
        else:
            end = self._scan(text, value_at)[1]
        after = _after_space(text, end)
        if new is None:
            return None, after
        return (f"{text[start:value_at]}{new}{text[end:after]}" if new else text[start:after]), after
