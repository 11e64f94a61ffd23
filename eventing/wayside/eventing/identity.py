"""Stable names: the hashes by which verdicts, records and windows are known on every machine and after every restart.

Invariant: a name is a pure function of its parts, and no two lists of parts share an encoding (canonical JSON).
"""

import json
import re
from hashlib import sha256
from os import urandom
from uuid import uuid4

_CANONICAL = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_IDS_DRAWN = 64
_VARIANTS = "89ab"
_NOT_LABEL = re.compile(r"[^\x21-\x7e]")


def mint_event_id() -> str:
    """A fresh event id. The logger mints it; nothing a client sends has a part in it."""
    return str(uuid4())


class EventIds:
    """Mints as `mint_event_id` does, UUIDs of version 4 (RFC 9562), drawing randomness for many at once.

    For one process: a copy of it in a forked child would mint the same ids.
    """

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def mint(self) -> str:
        if not self._drawn:
            digits = urandom(16 * _IDS_DRAWN).hex()
            self._drawn = [digits[at : at + 32] for at in range(0, 32 * _IDS_DRAWN, 32)]
        digits = self._drawn.pop()
        variant = _VARIANTS[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def stable_id(*parts: str | int) -> str:
    """SHA-256 over the parts, in hex. ("a", "bc") and ("ab", "c") differ; so do 1 and "1"."""
    return sha256(_CANONICAL.encode(parts).encode()).hexdigest()


def record_id(source: str, event_id: str, row: int) -> str:
    """The `_id` of a row's record: hash of (source, id, row)."""
    return stable_id("record", source, event_id, row)


def client_text(value: str, limit: int = 256) -> str:
    """A client's own identifier made fit to travel as an extension: printable ASCII, at most `limit` characters."""
    return _NOT_LABEL.sub("?", value[:limit])
