"""Copies of bodies, within bounds.

Invariant: a copy never grows past its bounds. What goes over the limit of one body is cut off there and marked, or the
copy is given up, as is configured; what goes over the limit of all copies is given up: never a part unmarked.
"""

from wayside.logger.settings import Oversize

TOO_LARGE, CAPTURE_FULL = "too_large", "capture_full"
_PIECE_BYTES = 64  # what a piece of a copy takes besides its data
_NO_MORE = -1  # a limit that no piece is within


class CaptureBudget:
    """How many bytes may lie in unfinished copies, over all connections, and how many do."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class BodyCopy:
    """The copy of one body.

    `lost` is empty, or the reason for which the copy was given up; it is empty of bytes from then on. `truncated` is
    True where the copy is the beginning of a longer body.
    """

    __slots__ = ("_budget", "_limit_bytes", "_oversize", "_pieces", "_size_bytes", "lost", "truncated")

    def __init__(self, limit_bytes: int, budget: CaptureBudget, oversize: Oversize = Oversize.TRUNCATE) -> None:
        self._limit_bytes = limit_bytes
        self._budget = budget
        self._oversize = oversize
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self.lost = ""
        self.truncated = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was copied yet, or the copy was given up."""
        return not self._size_bytes

    def add(self, data: bytes) -> None:
        """Copy a piece of the body; never raises."""
        size_bytes = self._size_bytes + len(data)
        if size_bytes > self._limit_bytes:
            self._add_first_of(data)
            return
        budget = self._budget
        used_bytes = budget.used_bytes + len(data) + _PIECE_BYTES
        if used_bytes > budget.limit_bytes:
            self._give_up(CAPTURE_FULL)
            return
        budget.used_bytes = used_bytes
        self._size_bytes = size_bytes
        self._pieces.append(data)

    def _add_first_of(self, data: bytes) -> None:
        """What the limit lets through of a piece that goes over it."""
        if self._limit_bytes == _NO_MORE:
            return
        if self._oversize is Oversize.SKIP:
            self._give_up(TOO_LARGE)
            return
        if first := data[: self._limit_bytes - self._size_bytes]:
            self.add(first)
        self.truncated = not self.lost
        self._limit_bytes = _NO_MORE

    def take(self) -> bytes:
        """What was copied; the copy is empty afterwards."""
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.release()
        return body

    def release(self) -> None:
        """Forget the copy. May be called twice."""
        self._budget.used_bytes -= self._size_bytes + _PIECE_BYTES * len(self._pieces)
        self._pieces = []
        self._size_bytes = 0

    def _give_up(self, reason: str) -> None:
        self.lost = reason
        self._limit_bytes = _NO_MORE
        self.release()
