"""Stable names: the hashes by which verdicts, records and windows are known on every machine and after every restart.

Invariant: a name is a pure function of its parts, and no two lists of parts share an encoding (canonical JSON).
"""

import json
import re
from hashlib import sha256
from uuid import uuid4

_CANONICAL = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_NOT_LABEL = re.compile(r"[^\x21-\x7e]")


def mint_event_id() -> str:
    """A fresh event id. The logger mints it; nothing a client sends has a part in it."""
    return str(uuid4())


def stable_id(*parts: str | int) -> str:
    """SHA-256 over the parts, in hex. ("a", "bc") and ("ab", "c") differ; so do 1 and "1"."""
    return sha256(_CANONICAL.encode(parts).encode()).hexdigest()


def record_id(source: str, event_id: str, row: int) -> str:
    """The `_id` of a row's record: hash of (source, id, row)."""
    return stable_id("record", source, event_id, row)


def client_text(value: str, limit: int = 256) -> str:
    """A client's own identifier made fit to travel as an extension: printable ASCII, at most `limit` characters."""
    return _NOT_LABEL.sub("?", value[:limit])
