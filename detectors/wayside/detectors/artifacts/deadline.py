"""A time by which connections end, whatever is done with them: what is given a byte now and then never times out.

Invariant: once the time is up every connection that was watched is shut down; what reads from it comes to its end.
"""

import contextlib
import socket
import threading
import time
from http.client import HTTPConnection, HTTPSConnection
from types import TracebackType
from typing import Any, Self
from urllib.request import HTTPHandler, HTTPSHandler, Request


class Deadline:
    """Runs while the block runs. Watch from any thread."""

    def __init__(self, limit_s: float) -> None:
        self._at_s = time.monotonic() + limit_s
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._has_passed = False
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True

    @property
    def has_passed(self) -> bool:
        return self._has_passed or time.monotonic() > self._at_s

    def watch(self, connection: socket.socket) -> None:
        """TLS takes a socket over, so it is a second handle of the connection that is kept."""
        with self._lock:
            self._watched.append(connection.dup())
            if self._has_passed:
                _shut_down(self._watched[-1])

    def check(self) -> None:
        """Raises `TimeoutError` once the time is up."""
        if self.has_passed:
            raise TimeoutError

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for each in self._watched:
                each.close()
            self._watched.clear()

    def _end(self) -> None:
        with self._lock:
            self._has_passed = True
            for each in self._watched:
                _shut_down(each)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        connection.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    deadline: Deadline  # set by whoever makes it

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _WatchedTls(HTTPSConnection, _Watched):
    """Is watched before it shakes hands: `HTTPSConnection.connect` begins with that of the class above."""


class HttpBy(HTTPHandler):
    """urllib's handler, whose connections end by a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> Any:
        return self.do_open(_made(_Watched, self._deadline), req)


class HttpsBy(HTTPSHandler):
    """The same with TLS."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> Any:
        return self.do_open(_made(_WatchedTls, self._deadline), req)


def _made(kind: type[_Watched], deadline: Deadline) -> Any:
    def make(*args: Any, **settings: Any) -> _Watched:
        connection = kind(*args, **settings)
        connection.deadline = deadline
        return connection

    return make
