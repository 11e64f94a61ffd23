"""What a journal keeps: bytes with a time, the position that they got, and a checksum over all of it.

Invariant: `checksum` covers every field of an entry and where one ends and the next begins, so that an entry is given
to a reader as it was appended or not at all.
"""

import struct
import zlib
from dataclasses import dataclass

ROW_BYTES = 64  # what an entry costs beside its bytes: its keys, its lengths, its share of the pages above it
LIMIT_BYTES = 512 << 20  # of head and data together: half of what SQLite can hold in a row
_TIMES = 1 << 63
_FIXED = struct.Struct("<qqI")


@dataclass(frozen=True, slots=True)
class Entry:
    """Bytes to keep. `time_ns` (since the epoch) is what retention by age goes by; `head` and `data` are opaque.

    Raises `ValueError` for a time beyond 64 bits and for more than `LIMIT_BYTES`, which no journal could keep.
    """

    time_ns: int
    head: bytes
    data: bytes

    def __post_init__(self) -> None:
        if not -_TIMES <= self.time_ns < _TIMES:
            raise ValueError(f"time_ns {self.time_ns} does not fit in 64 bits")
        if len(self.head) + len(self.data) > LIMIT_BYTES:
            raise ValueError(f"an entry holds at most {LIMIT_BYTES} bytes, not {len(self.head) + len(self.data)}")

    @property
    def size_bytes(self) -> int:
        """What the entry counts against a limit in bytes."""
        return len(self.head) + len(self.data) + ROW_BYTES


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """An entry that is on disk. Positions ascend in the order of the appends, with gaps, and are never used again."""

    position: int
    time_ns: int
    head: bytes
    data: bytes


def checksum(position: int, time_ns: int, head: bytes, data: bytes) -> int:
    """CRC-32 over the position, the time, the length of `head`, `head` and `data`: 32 bits, not negative."""
    return zlib.crc32(data, zlib.crc32(head, zlib.crc32(_FIXED.pack(position, time_ns, len(head)))))
