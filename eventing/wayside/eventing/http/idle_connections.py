"""The connections that a client keeps open between its requests, by origin.

Invariant: so many an origin at most, and none longer than `idle_s`, whether or not another request comes.
"""

import asyncio

from wayside.eventing.http.client_connection import ClientConnection
from wayside.eventing.http.url import Origin


class IdleConnections:
    """`limit` bounds them for each origin. One timer serves all, and runs while there are any."""

    def __init__(self, limit: int, idle_s: float) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._idle: dict[Origin, list[ClientConnection]] = {}  # the most recently used last
        self._timer: asyncio.TimerHandle | None = None

    def take(self, origin: Origin, now: float) -> ClientConnection | None:
        """The connection that was used last, where it can be used again. `now` is the loop's time."""
        idle = self._idle.get(origin)
        oldest = now - self._idle_s
        while idle:
            connection = idle.pop()
            if connection.idle_since > oldest and connection.reusable and not connection.has_input():
                return connection
            connection.close()
        return None

    def give_back(self, origin: Origin, connection: ClientConnection) -> None:
        """Keep a connection for the next request, or close it where it cannot be used again or there are enough."""
        idle = self._idle.setdefault(origin, []) if connection.reusable else None
        if idle is None or len(idle) >= self._limit:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        idle.append(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._idle_s, self._close_overdue)

    def close(self) -> None:
        """Close all, and keep none from now on."""
        self._limit = 0
        if self._timer is not None:
            self._timer.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    def _close_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._idle_s
        for idle in self._idle.values():
            while idle and idle[0].idle_since <= oldest:
                idle.pop(0).close()
        self._idle = {origin: idle for origin, idle in self._idle.items() if idle}
        self._timer = None
        if self._idle:
            due = min(idle[0].idle_since for idle in self._idle.values()) + self._idle_s
            self._timer = loop.call_at(due, self._close_overdue)
