"""How many bytes of events the lanes of one broker hold in memory together, and how many of them each may hold.

Source: Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, IEEE/ACM Transactions
on Networking 6(2), 1998; with a threshold of all that is free.
Invariant: together the lanes hold the limit at most, and beyond it one event each. A lane takes more only while it
holds no more than is left free, so that some is always left: one that hangs gets half of the limit, N that hang come to
an (N+1)th each, and as much is free for whoever comes. A lane that holds nothing may always take one event.
"""

from collections.abc import Callable


class ByteBudget:
    """What the lanes of one broker may hold together."""

    def __init__(self, limit_bytes: int) -> None:
        self._free_bytes = limit_bytes
        self._short: set[Share] = set()

    @property
    def free_bytes(self) -> int:
        """What no lane holds; below 0 where lanes hold the one event that each may have beyond the limit."""
        return self._free_bytes

    def share(self, wake: Callable[[], None]) -> "Share":
        """What one lane holds of it, nothing yet. `wake` is called when there is room that it asked for in vain."""
        return Share(self, wake)

    def _move(self, size_bytes: int) -> None:
        self._free_bytes -= size_bytes
        if size_bytes < 0:
            for share in [share for share in self._short if share.has_room]:
                self._short.discard(share)
                share.wake()


class Share:
    """What one lane holds."""

    def __init__(self, budget: ByteBudget, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.held_bytes = 0
        self._budget = budget

    @property
    def has_room(self) -> bool:
        """Whether the lane may take one event more, however large it turns out to be."""
        return not self.held_bytes or self.held_bytes < self._budget.free_bytes

    def ask_room(self) -> bool:
        """As `has_room`; where there is none, `wake` is called once there is."""
        if not self.has_room:
            self._budget._short.add(self)
            return False
        self._budget._short.discard(self)
        return True

    def take(self, size_bytes: int) -> bool:
        """Hold so much more, unless the lane would then hold more than is left free."""
        if self.held_bytes + size_bytes > self._budget.free_bytes - size_bytes:
            return False
        self.charge(size_bytes)
        return True

    def charge(self, size_bytes: int) -> None:
        """The lane holds so much more: of an event for which there was room before its size was known."""
        self.held_bytes += size_bytes
        self._budget._move(size_bytes)

    def give(self, size_bytes: int) -> None:
        """The lane holds so much less."""
        self.held_bytes -= size_bytes
        self._budget._move(-size_bytes)

    def close(self) -> None:
        """The lane has ended, and holds nothing."""
        self._budget._short.discard(self)
        self.give(self.held_bytes)
