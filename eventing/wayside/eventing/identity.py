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
_BLANK_IDS = b"xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx\n" * _IDS_DRAWN  # RFC 9562, section 5.4
_ID_STEP = len(_BLANK_IDS) // _IDS_DRAWN
_RANDOM_AT = tuple(at for at in range(_ID_STEP) if _BLANK_IDS[at] == ord("x"))
_VARIANT_AT = _BLANK_IDS.index(b"y")
_TO_VARIANT = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)
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
            self._drawn = _random_ids()
        return self._drawn.pop()


def _random_ids() -> list[str]:
    """As many ids as are drawn at once, written a column of digits at a time."""
    digits = urandom(16 * _IDS_DRAWN).hex().encode()
    ids = bytearray(_BLANK_IDS)
    for column, at in enumerate(_RANDOM_AT):
        ids[at::_ID_STEP] = digits[column::32]
    ids[_VARIANT_AT::_ID_STEP] = digits[31::32].translate(_TO_VARIANT)
    return ids.decode().split()


def stable_id(*parts: str | int) -> str:
    """SHA-256 over the parts, in hex. ("a", "bc") and ("ab", "c") differ; so do 1 and "1"."""
    return sha256(_CANONICAL.encode(parts).encode()).hexdigest()


def record_id(source: str, event_id: str, row: int) -> str:
    """The `_id` of a row's record: hash of (source, id, row)."""
    return stable_id("record", source, event_id, row)


def client_text(value: str, limit: int = 256) -> str:
    """A client's own identifier made fit to travel as an extension: printable ASCII, at most `limit` characters."""
    return _NOT_LABEL.sub("?", value[:limit])
