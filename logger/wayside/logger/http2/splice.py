"""A client's connection of HTTP/2 and one to the model server of its own, joined byte for byte.

Source: RFC 9113 section 3.3 (prior knowledge), section 6.8 (GOAWAY).
Invariant: what a client sends reaches the model server as it is, and what that sends reaches the client with nothing
put in but the GOAWAYs of a logger that stops; a side that reads slowly slows the other, and nothing else is held back.
What is read of it is read once it has been passed on.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from wayside.logger.capture.recording import Recorder
from wayside.logger.http2.departure import Departure
from wayside.logger.http2.frames import PREFACE
from wayside.logger.http2.observer import ConnectionObserver, Http2Counts
from wayside.logger.settings import Upstream

if TYPE_CHECKING:
    from wayside.logger.proxy.peer import Peers

log = logging.getLogger("wayside.logger")
_LINGER_S: Final = 1.0
_ENDING_S: Final = 120.0  # that a connection may stand still of which one side has said its last


def is_preface(data: bytes) -> bool | None:
    """Whether a connection that begins with these bytes is HTTP/2; None where more must come to tell."""
    if data.startswith(PREFACE):
        return True
    return None if PREFACE.startswith(data) else False


@dataclass(slots=True)
class Splices:
    """What the HTTP/2 connections of one logger share. `recorder` is None where nothing is captured; `peers` holds the
    connections that are open."""

    upstream: Upstream
    recorder: Recorder | None
    peers: "Peers"
    counts: Http2Counts = field(default_factory=Http2Counts)

    def adopt(self, transport: asyncio.Transport, first_bytes: bytes) -> "Splice":
        """Take over a client's transport, of which `first_bytes`, the preface and what came with it, have been read.

        It gets another protocol, which is among the peers from now on and is told `connection_lost`; nothing is read
        from it until the model server takes a connection.
        """
        self.counts.connections += 1
        splice = Splice(self, transport, first_bytes)
        self.peers.add(splice)
        transport.set_protocol(splice)
        return splice


class Splice(asyncio.Protocol):
    """The client's side of one connection, and the one that decides."""

    def __init__(self, splices: Splices, client: asyncio.Transport, first_bytes: bytes) -> None:
        self._splices = splices
        self._client = client
        self._first_bytes = first_bytes
        self._server: asyncio.Transport | None = None
        self._observer = ConnectionObserver(splices.recorder, splices.counts)
        self._departure: Departure | None = None
        self._client_ended = self._server_ended = self._deaf = False
        self._loop = asyncio.get_running_loop()
        self.last_bytes_s = self._loop.time()
        client.pause_reading()
        self._connecting = self._loop.create_task(self._connect())

    # as a peer

    @property
    def busy(self) -> bool:
        """Whether a stream is open, or the client is still being told of the end."""
        return not self._client.is_closing() and (self._observer.open_streams > 0 or self._departure is not None)

    def drain(self) -> None:
        """Tell the client to go, and close once what it asked has been answered; what it asks meanwhile is served."""
        if self._departure is None and not self._deaf:
            self._departure = Departure(self, self._observer, self._loop)
            self._departure.look()

    def break_off(self) -> None:
        self._client.abort()

    def sweep(self, now_s: float) -> None:
        """Give up on a connection that ends, and stands still. For others there are HTTP/2's own pings."""
        ending = self._client_ended or self._server_ended or self._deaf
        if ending and now_s - self.last_bytes_s > _ENDING_S:
            self._client.abort()

    # asyncio.Protocol: the client's side

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._server is None:
            return
        self.last_bytes_s = self._loop.time()
        self._server.write(data)
        self._observer.client_sent(data)

    def eof_received(self) -> bool:
        if self._deaf or self._server is None:
            return False
        self._client_ended = True
        return self._pass_end(self._server)

    def connection_lost(self, exc: Exception | None) -> None:
        self._splices.peers.discard(self)
        self._connecting.cancel()
        if self._departure is not None:
            self._departure.stop()
        if self._server is not None:
            self._server.abort()  # nobody waits for its answers any more
        self._observer.closed()

    def pause_writing(self) -> None:
        if self._server is not None and not self._server.is_closing():
            self._server.pause_reading()

    def resume_writing(self) -> None:
        if self._server is not None and not self._server.is_closing():
            self._server.resume_reading()

    # the model server's side

    async def _connect(self) -> None:
        to = self._splices.upstream
        try:
            async with asyncio.timeout(to.connect_timeout_s):
                await self._loop.create_connection(lambda: _ServerSide(self), to.host, to.port)
        except (OSError, TimeoutError, UnicodeError) as exc:  # the last for a host name that none can be
            # a client to which nothing was said takes this as a connection that was never made, and waits a little
            # before the next; one that heard SETTINGS and GOAWAY tries again at once, a hundred times a second
            self._splices.counts.unserved += 1
            log.info("the model server at %s:%d takes no connection: %s", to.host, to.port, exc or "not in time")
            self.hear_out()

    def server_made(self, server: asyncio.Transport) -> None:
        """The model server took the connection."""
        if self._client.is_closing():
            return server.abort()
        self._server = server
        self._client.resume_reading()
        first_bytes, self._first_bytes = self._first_bytes, b""
        self.data_received(first_bytes)

    def server_sent(self, data: bytes) -> None:
        self.last_bytes_s = self._loop.time()
        if self._departure is not None:
            data = self._departure.pass_until_told(data)
        if data:
            self.pass_on(data)

    def server_ended(self) -> bool:
        """The model server says no more: what it has not answered it never will."""
        self._server_ended = True
        self._observer.closed()
        return self._pass_end(self._client)

    def server_slow(self, slow: bool) -> None:
        """The model server reads slower than the client writes, or does so no longer."""
        if not self._client.is_closing():
            (self._client.pause_reading if slow else self._client.resume_reading)()

    def server_lost(self) -> None:
        """The model server is gone: what it said still reaches the client."""
        self.hear_out()

    def pass_on(self, data: bytes) -> None:
        """To the client."""
        if not self._deaf:
            self._client.write(data)
            self._observer.server_sent(data)

    def _pass_end(self, other: asyncio.Transport) -> bool:
        """One side said its last; the other may go on, and then both are closed. Return whether it may."""
        if self._client_ended and self._server_ended:
            self._client.close()
            return False
        if not other.is_closing():
            other.write_eof()
        return True

    # the end

    def put_in(self, frame: bytes) -> None:
        """Say something to the client that the model server has not said."""
        if not (self._server_ended or self._deaf or self._client.is_closing()):
            self._client.write(frame)

    def hear_out(self) -> None:
        """Say no more, and close; first hear out a client that may still be sending, since a reset could take from it
        what it was told."""
        if self._deaf or self._client.is_closing():
            return
        self._deaf = True
        self._observer.closed()
        if self._server is not None:
            self._server.abort()
        if not self._server_ended:
            self._client.write_eof()
        self._client.resume_reading()
        self._loop.call_later(_LINGER_S, self._client.close)


class _ServerSide(asyncio.Protocol):
    """The connection to the model server: it tells the splice."""

    def __init__(self, splice: Splice) -> None:
        self._splice = splice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._splice.server_made(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._splice.server_sent(data)

    def eof_received(self) -> bool:
        return self._splice.server_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._splice.server_lost()

    def pause_writing(self) -> None:
        self._splice.server_slow(True)

    def resume_writing(self) -> None:
        self._splice.server_slow(False)
