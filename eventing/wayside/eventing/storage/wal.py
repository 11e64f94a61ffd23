"""What of a write-ahead log SQLite did not replay: transactions that were committed, behind a damaged frame.

Invariant: the file is only read, a header of a frame at a time. Frames without a commit behind them are the remains of
a transaction that was never finished, not damage.
Source: https://www.sqlite.org/fileformat2.html#walformat
"""

import os
import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, size of the database after a commit or 0, two salts, two checksums
_WORDS = {0x377F0682: struct.Struct("<6I"), 0x377F0683: struct.Struct(">6I")}  # by the magic: the checksum's order


def count_committed(path: Path, page_bytes: int) -> int:
    """How many frames lead to the last one that claims to be a commit of the log's present round; 0 without a log.

    A frame is of the present round if its salts are those of the header; where the header is damaged, every frame is.
    Raises `OSError`.
    """
    try:
        with path.open("rb") as file:
            return _count(file.fileno(), page_bytes)
    except FileNotFoundError:
        return 0


def _count(file: int, page_bytes: int) -> int:
    step = _FRAME.size + page_bytes
    frames = (os.fstat(file).st_size - _HEADER.size) // step
    if frames < 1:
        return 0
    salts = _salts(os.pread(file, _HEADER.size, 0))
    committed = 0
    for number in range(1, frames + 1):
        _, size_after, *rest = _FRAME.unpack(os.pread(file, _FRAME.size, _HEADER.size + (number - 1) * step))
        if size_after and (salts is None or rest[:2] == salts):
            committed = number
    return committed


def _salts(header: bytes) -> list[int] | None:
    """Those of a header whose own checksum holds."""
    magic, *fields = _HEADER.unpack(header)
    if magic not in _WORDS or _checksum(_WORDS[magic].unpack_from(header)) != fields[5:]:
        return None
    return fields[3:5]


def _checksum(words: tuple[int, ...]) -> list[int]:
    one = other = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + other) & 0xFFFFFFFF
        other = (other + odd + one) & 0xFFFFFFFF
    return [one, other]
