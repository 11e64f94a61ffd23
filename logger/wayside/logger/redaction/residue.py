"""What is left of a redacted value: nothing, `***`, or its keyed hash.

Source: RFC 2104 (HMAC) with SHA-256; the canonical text is close to RFC 8785's (members sorted, no spaces), but that
numbers equal as numbers have one text, exact to the last digit.
Invariant: equal values have equal hashes, wherever they stand; without the key nothing can be told from a hash.
"""

import hmac
import json
from collections.abc import Callable
from typing import Any, Final

from wayside.logger.settings import Redacted

MASK: Final = "***"


class Residue:
    """Makes what is left of values. `key` may be empty where no rule hashes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def plain(self, left: Redacted, value: Any) -> str:
        """The text that stands for a value that is not dropped: `***`, or 64 hex digits."""
        return MASK if left is not Redacted.HASH else self.hashed(value)

    def hashed(self, value: Any) -> str:
        """HMAC-SHA256 of the value's canonical text in UTF-8, in hex."""
        return hmac.digest(self._key, canonical(value).encode(), "sha256").hex()

    def text(self, left: Redacted, value: Any) -> str:
        """The JSON text that stands for a value that is not dropped."""
        return f'"{self.plain(left, value)}"'

    def spread(self, left: Redacted, value: Any) -> str:
        """The JSON text that stands for a column's values: lists keep their shape, each entry is replaced."""
        return _spread(value, lambda entry: self.text(left, entry))


def _spread(value: Any, text_of: Callable[[Any], str]) -> str:
    if isinstance(value, list):
        return f"[{','.join([_spread(entry, text_of) for entry in value])}]"
    return text_of(value)


def canonical(value: Any) -> str:
    """The JSON text of a value, alike for all values that are equal: 1, 1.0 and 1e0 are `1`; -0.0 is `0`."""
    return json.dumps(_normal(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _normal(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_normal(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _normal(member) for name, member in value.items()}
    return value
