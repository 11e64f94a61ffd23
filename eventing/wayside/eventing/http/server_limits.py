"""What an HTTP server takes from its clients, and what it answers to more.

Invariant: pure. What a client sends too much of is its mistake, a 4xx; what all of them send too much of is a 503 that
asks them to come again.
"""

from dataclasses import dataclass

from wayside.eventing.http.message import Headers, Response

_TRY_LATER: Headers = [(b"retry-after", b"1")]


class Refused(Exception):
    """The request goes over a limit; carries the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of a server, for all of its connections and for each.

    `idle_s` is the seconds from one answer to the next whole request: it bounds a slow sender as well as a silent one,
    and how long a client may leave its answers unread. Above `connections` a new one is told 503 and closed; so is one
    whose body would bring those that are read or answered now to more than `total_body_bytes`. `headers` is how many a
    request may have: an event's attributes are headers, so twice as many as most servers and proxies allow.
    """

    body_bytes: int = 16 << 20
    head_bytes: int = 64 << 10
    idle_s: float = 75.0
    headers: int = 256
    connections: int = 1024
    total_body_bytes: int = 256 << 20

    def bound_bodies(self, own_bytes: int, all_bytes: int) -> None:
        """Raises `Refused` where a request's body, or it and those that are held beside it, are too large."""
        if own_bytes > self.body_bytes:
            raise Refused(Response.text(413, f"body is over {self.body_bytes} bytes"))
        if all_bytes > self.total_body_bytes:
            reason = f"the bodies in hand are over {self.total_body_bytes} bytes"
            raise Refused(Response.text(503, reason, _TRY_LATER))

    def head_too_large(self) -> Refused:
        return Refused(Response.text(431, f"head is over {self.head_bytes} bytes"))

    def too_many_headers(self) -> Refused:
        return Refused(Response.text(431, f"more than {self.headers} headers"))

    def too_many_connections(self) -> Refused:
        return Refused(Response.text(503, f"{self.connections} connections are open", _TRY_LATER))
