"""The graceful end of one spliced connection.

Source: RFC 9113 section 6.8 (GOAWAY, and how a server shuts down without losing a request).
Invariant: a frame is put in only between two of the server's, behind its first; no request that reached the model
server is cut off, and any other is one that the client may send again.
"""

import asyncio
from typing import Final, Protocol

from wayside.logger.http2.frames import LAST_STREAM_ID, go_away
from wayside.logger.http2.observer import ConnectionObserver

_NOTICE_S: Final = 0.25  # how long a client that was told to go may still open streams: longer than a round trip
_QUIET_S: Final = 1.0
_POLL_S: Final = 0.02


class Leaver(Protocol):
    """The connection that ends."""

    last_bytes_s: float

    def pass_on(self, data: bytes) -> None:
        """Pass bytes of the server's to the client, and to the observer."""

    def put_in(self, frame: bytes) -> None:
        """Say something to the client."""

    def hear_out(self) -> None:
        """Say no more, and close."""


class Departure:
    """A GOAWAY that refuses nothing; then, once no stream is open and what the client asked before it knew has come,
    one that names the last stream served.

    Where frames cannot be followed, the connection ends once it has been quiet for a second.
    """

    def __init__(self, leaver: Leaver, observer: ConnectionObserver, loop: asyncio.AbstractEventLoop) -> None:
        self._leaver = leaver
        self._observer = observer
        self._loop = loop
        self._since_s = loop.time()
        self._told = False
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Do nothing any more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pass_until_told(self, data: bytes) -> bytes:
        """Pass the server's bytes on up to the next place between two frames, and tell the client there; return what
        is left of them."""
        reader, at = self._observer.server, 0
        while not self._told and self._observer.in_step and at < len(data):
            piece = data[at : at + reader.pending_bytes]
            self._leaver.pass_on(piece)
            at += len(piece)
            self._tell()
        return data[at:]

    def look(self) -> None:
        """Do what can be done by now, and look again soon."""
        self._tell()
        if self._is_over():
            self._end()
        else:
            self._timer = self._loop.call_later(_POLL_S, self.look)

    def _is_over(self) -> bool:
        now_s, observer = self._loop.time(), self._observer
        if not observer.in_step:
            return now_s - self._leaver.last_bytes_s >= _QUIET_S
        may_end = self._told or not observer.server.begun
        is_served = observer.open_streams == 0 and observer.server.at_boundary
        return may_end and is_served and now_s - self._since_s >= _NOTICE_S

    def _tell(self) -> None:
        """A server's first frame is its SETTINGS: before that nothing can be put in."""
        server = self._observer.server
        if self._observer.in_step and server.begun and server.at_boundary and not self._told:
            self._told, self._since_s = True, self._loop.time()
            self._leaver.put_in(go_away(LAST_STREAM_ID))

    def _end(self) -> None:
        self.stop()
        if self._told:
            self._leaver.put_in(go_away(self._observer.last_stream_id))
        self._leaver.hear_out()
