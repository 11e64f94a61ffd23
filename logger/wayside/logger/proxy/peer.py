"""A client's connection as the port sees it, whatever it speaks."""

from typing import Protocol


class Peer(Protocol):
    """One open connection."""

    @property
    def busy(self) -> bool:
        """Whether a request is in hand."""

    def drain(self) -> None:
        """Take no further request; close once those in hand are answered."""

    def break_off(self) -> None:
        """Close at once."""

    def sweep(self, now_s: float) -> None:
        """Give up on a client that is too slow, by the loop's time. Called every few seconds."""


Peers = set[Peer]
