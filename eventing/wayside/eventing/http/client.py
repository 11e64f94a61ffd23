"""An HTTP/1.1 client for whole messages, with a bounded pool of kept-alive connections an origin.

Invariant: a request is written at most once; `send` returns its response or raises, never hangs past `timeout_s`, and
never follows a redirect. What it holds of answers is bounded, for each and together.
"""

import asyncio
import errno
import socket
import ssl

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.body_parts import Held
from wayside.eventing.http.client_connection import AnswerLimits, ClientConnection
from wayside.eventing.http.idle_connections import IdleConnections
from wayside.eventing.http.message import Headers, Response, head
from wayside.eventing.http.resolving import Lookup, Resolver, Unresolved, connect_in_turn, look_up
from wayside.eventing.http.url import Origin, Url
from wayside.eventing.sink import SinkUnavailable

_LACKING = {
    errno.EMFILE: "raise this process's limit of open files (ulimit -n; LimitNOFILE= of a systemd unit)",
    errno.ENFILE: "raise this machine's limit of open files (sysctl fs.file-max)",
    errno.ENOBUFS: "this machine has no memory for another connection",
    errno.ENOMEM: "this machine has no memory for another connection",
}


class Unreachable(WaysideError):
    """No response came: the host was not found, the connection not made, or it broke, timed out or spoke no HTTP."""


class HttpClient:
    """A pool of connections; made once by a service, closed by that service.

    `idle_limit` bounds idle connections an origin; `idle_s` is how long one may lie idle, shorter than servers'
    usual keep-alive, so that a request seldom meets a connection that is just being closed. `lookup` finds the
    addresses of a host, as `Resolver` says: a host whose lookup hangs holds up no request to another. `limits` bound
    the answers.
    """

    def __init__(
        self,
        idle_limit: int = 64,
        idle_s: float = 4.0,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = look_up,
        limits: AnswerLimits | None = None,
    ) -> None:
        self._resolver = Resolver(lookup)
        self._idle = IdleConnections(idle_limit, idle_s)
        self._tls = tls
        self._limits = limits or AnswerLimits()
        self._held = Held()

    @property
    def body_bytes(self) -> int:
        """Bytes of the bodies of answers that are being read now."""
        return self._held.body_bytes

    async def send(self, method: bytes, url: Url, headers: Headers, body: bytes = b"", *, timeout_s: float) -> Response:
        """One request and its whole response.

        Raises `Unreachable`, or `SinkUnavailable` where this machine lacks what a connection takes.
        """
        now = asyncio.get_running_loop().time()
        deadline = now + timeout_s
        request = _request(method, url, headers, body)
        try:
            connection = self._idle.take(url.origin, now) or await self._connect(url.origin, deadline)
            try:
                return await connection.exchange(request, method == b"HEAD", deadline)
            finally:
                self._idle.give_back(url.origin, connection)
        except Unresolved as exc:
            raise _failure(url, _own_lack() or exc.__cause__, str(exc)) from exc
        except TimeoutError as exc:
            raise Unreachable(f"{url.text}: no answer within {timeout_s:g} s") from exc
        except OSError as exc:
            raise _failure(url, exc, exc.strerror or str(exc)) from exc

    async def close(self) -> None:
        """Close every idle connection, and keep none from now on. Requests in hand end on their own."""
        self._idle.close()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    async def _connect(self, origin: Origin, deadline: float) -> ClientConnection:
        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        tls, name = (self._tls, origin.host) if origin.tls else (None, None)
        loop = asyncio.get_running_loop()

        async def connect(address: str) -> ClientConnection:
            made = loop.create_connection(self._new_connection, address, origin.port, ssl=tls, server_hostname=name)
            return (await made)[1]

        return await connect_in_turn(self._resolver, origin.host, deadline, connect)

    def _new_connection(self) -> ClientConnection:
        return ClientConnection(self._limits, self._held)


def _own_lack() -> OSError | None:
    """Why this machine has no socket to spare now: the system's resolver, which needs one, seldom says so."""
    try:
        socket.socket().close()
    except OSError as exc:
        return exc
    return None


def _failure(url: Url, cause: BaseException | None, reason: str) -> WaysideError:
    """What is not the other side's fault must not count against it."""
    remedy = _LACKING.get(cause.errno) if isinstance(cause, OSError) and cause.errno is not None else None
    if remedy is not None:
        return SinkUnavailable(f"{url.text}: no connection, for this machine's own lack ({reason}): {remedy}")
    return Unreachable(f"{url.text}: {reason}")


def _request(method: bytes, url: Url, headers: Headers, body: bytes) -> bytes:
    own: Headers = [(b"host", url.host), (b"content-length", b"%d" % len(body))]
    return head(b"%s %s HTTP/1.1\r\n" % (method, url.target), own + headers) + body
