"""A client's connection as the port sees it, whatever it speaks."""

import asyncio
import socket
from contextlib import suppress
from typing import Final, Protocol

_KEEP_WATCH_S: Final = 15  # as Go's server


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


def keep_watch(transport: asyncio.BaseTransport) -> None:
    """Have the kernel ask after a client that is silent, so that one whose machine is gone holds nothing for ever."""
    connected = transport.get_extra_info("socket")
    with suppress(OSError):  # no socket of TCP's
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_WATCH_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_WATCH_S)
