"""A whole response sent at once, where ASGI has a head and a body: half the work, and one call of the system, not two.

Source: ASGI 3.0, "Extensions"; uvicorn's `RequestResponseCycle.send`, whose state is left as it would leave it.
Invariant: what goes out is, byte for byte, what uvicorn would have sent for the two messages.
"""

from collections.abc import Callable, Sequence
from itertools import chain

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

Respond = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], bool]

RESPOND = "wayside.respond"
"""The name of a `Respond` among the extensions in a request's scope."""


def respond(cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Answer the request of this cycle. The headers name the body's length, and hold no line break.

    False, and nothing is sent, where it takes ASGI's messages: the client has gone, or reads no faster than it is
    answered.
    """
    if cycle.flow.write_paused or cycle.disconnected:
        return False
    lines = [b"%b: %b\r\n" % header for header in chain(cycle.default_headers, headers)]
    end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join((STATUS_LINE[status], *lines, end, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
