"""A body that comes in parts, put together as it comes, and the count of all that are held.

Invariant: what is held is little more than the body's bytes, however small its parts: each would take ten times the
bytes of a chunk of four. Large ones are kept as they are until all are joined, once.
"""

from dataclasses import dataclass

_SMALL_BYTES = 1 << 10
_JOINED_BYTES = 16 << 10


@dataclass(slots=True)
class Held:
    """What the connections of one server, or of one client, hold of bodies, in bytes."""

    body_bytes: int = 0


class BodyParts:
    """One body after another: `add` what comes, `take` the whole. `size` is bytes."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        self.size += len(part)
        parts = self._parts
        if len(part) >= _SMALL_BYTES or not parts:
            parts.append(part)
            return
        last = parts[-1]
        if isinstance(last, bytearray) and len(last) < _JOINED_BYTES:
            last += part
        else:
            parts.append(bytearray(part))

    def take(self) -> bytes:
        """All that was added since the last time."""
        parts = self._parts
        whole = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self.size = 0
        return whole
