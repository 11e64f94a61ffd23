"""One direction's header blocks, decoded; HPACK's state goes on from block to block.

Source: RFC 7541 (HPACK), section 4.2 on the table's size; RFC 9113 section 6.5.2 (SETTINGS_HEADER_TABLE_SIZE).
Invariant: every block of the direction is decoded, in its order, or none that follows; a header list is bounded,
however small the block that it comes from.
"""

from collections import deque
from typing import Final

from hpack import Decoder, HPACKError

from wayside.eventing.http.message import Headers
from wayside.logger.http2.frames import Unreadable

LIST_LIMIT: Final = 32 << 10  # bytes, as RFC 9113 counts them: 32 more for each field
_TABLE_LIMIT: Final = 64 << 10
_ANNOUNCED_LIMIT: Final = 64
_KEPT_LIMIT: Final = 16
# one byte each that names a whole entry of the tables: such a block changes no table
_WHOLE_ENTRIES: Final = bytes(range(0x81, 0xFF))


class HeaderBlocks:
    """Decodes one direction. The table may be as large as the receiver has announced and the sender acknowledged."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=LIST_LIMIT)
        self._announced: deque[int | None] = deque()
        self._kept: dict[bytes, Headers] = {}  # what blocks mean as long as the table is as it is

    def announce(self, table_bytes: int | None) -> None:
        """The receiver sent SETTINGS, which may say how large its table may be. Raises `Unreadable`."""
        if len(self._announced) == _ANNOUNCED_LIMIT:
            raise Unreadable(f"more than {_ANNOUNCED_LIMIT} SETTINGS wait to be acknowledged")
        self._announced.append(table_bytes)

    def acknowledge(self) -> None:
        """The sender took the oldest SETTINGS not yet acknowledged."""
        table_bytes = self._announced.popleft() if self._announced else None
        if table_bytes is not None:
            self._decoder.max_allowed_table_size = min(table_bytes, _TABLE_LIMIT)
            self._kept.clear()

    def decode(self, block: bytes) -> Headers:
        """The header list of the next block, the caller's to change. Raises `Unreadable`; no later one can be read."""
        kept = self._kept.get(block)
        if kept is None:
            kept = self._decode(block)
            if block.translate(None, _WHOLE_ENTRIES):
                self._kept.clear()
            elif len(self._kept) < _KEPT_LIMIT:
                self._kept[block] = kept
        return kept.copy()

    def _decode(self, block: bytes) -> Headers:
        try:
            return [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except HPACKError as exc:
            raise Unreadable(f"header block cannot be decoded: {exc}") from exc
