"""Where a host's name leads: lookups on threads that nothing else uses, one at a time for each name.

An event loop looks names up on a few threads, asyncio on those of `asyncio.to_thread`: a name that hangs, asked for by
many at once, would fill them, and stop every other name and all else that waits for such a thread.

Source: RFC 6761 section 6.3 (`localhost` is the loopback, and needs no lookup); RFC 6724 (the order of addresses,
which the system's resolver applies).
Invariant: a lookup that hangs keeps those waiting who ask for its name and, while fewer than `LOOKUP_LIMIT` hang,
nobody else. It never keeps its process from ending.
"""

import asyncio
import ipaddress
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

from wayside.eventing.errors import WaysideError

C = TypeVar("C")
LOOKUP_LIMIT = 16  # at a time; each is a thread
_KEEP_S = 5.0
_LOOPBACK = ("::1", "127.0.0.1")

Lookup = Callable[[str], Sequence[str]]
"""A host's addresses as literals, in the order to try them, at least one. May block; raises `OSError`."""


class Unresolved(WaysideError):
    """A host's name led to no address, or not in time."""


def look_up(host: str) -> list[str]:
    """Ask the system's resolver, for as long as that takes: a `Lookup`."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # not the address as it stands there, which lacks the zone of a link-local one
    return [socket.getnameinfo(address, socket.NI_NUMERICHOST)[0] for *_, address in found]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a lookup came to: addresses, or why there are none; and up to when, on the loop's clock, that is kept."""

    addresses: Sequence[str]
    failure: Exception | None
    until: float


class Resolver:
    """Addresses of hosts for one client, on one event loop. There is nothing to close.

    Who asks for a name that is being looked up waits for that lookup, and may give up without ending it for others.
    Addresses are kept for `keep_s`, a failure is not. A lookup is begun on a daemon thread of its own: the interpreter
    waits for an executor's threads to end. Over `LOOKUP_LIMIT` names wait in line.
    """

    def __init__(self, lookup: Lookup = look_up, keep_s: float = _KEEP_S) -> None:
        self._look_up = lookup
        self._keep_s = keep_s
        self._answers: dict[str, _Answer] = {}  # those that were given within `keep_s`
        self._asked: dict[str, asyncio.Future[_Answer]] = {}
        self._line: deque[str] = deque()
        self._running = 0

    async def resolve(self, host: str, deadline: float) -> Sequence[str]:
        """The host's addresses as literals, in the order to try them, at least one; a literal is its own address.

        Raises `Unresolved`, at the `deadline` of the loop's clock at the latest.
        """
        if host == "localhost":
            return _LOOPBACK
        if _is_literal(host):
            return (host,)
        answer = self._answers.get(host)
        if answer is None or answer.until <= asyncio.get_running_loop().time():
            answer = await self._ask(host, deadline)
        if answer.failure is not None:
            raise Unresolved(f"cannot resolve {host!r}: {_reason(answer.failure)}") from answer.failure
        return answer.addresses

    def forget(self, host: str) -> None:
        """Look the host up anew when it is asked for next: it has perhaps moved."""
        self._answers.pop(host, None)

    async def _ask(self, host: str, deadline: float) -> _Answer:
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.get_running_loop().create_future()
            self._line.append(host)
            self._begin_lookups()
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(asked)
        except TimeoutError as exc:
            raise Unresolved(f"cannot resolve {host!r}: its lookup did not end in time") from exc

    def _begin_lookups(self) -> None:
        loop = asyncio.get_running_loop()
        while self._line and self._running < LOOKUP_LIMIT:
            host = self._line.popleft()
            self._running += 1
            try:
                Thread(target=self._serve, args=(loop, host), name=f"lookup-{host}", daemon=True).start()
            except RuntimeError as exc:  # the machine has no thread to spare
                loop.call_soon(self._settle, host, (), exc)

    def _serve(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        addresses: Sequence[str] = ()
        failure: Exception | None = None
        try:
            addresses = self._look_up(host)
        except Exception as exc:  # the thread's edge: handed to whoever asked
            failure = exc
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self._settle, host, addresses, failure)

    def _settle(self, host: str, addresses: Sequence[str], failure: Exception | None) -> None:
        self._running -= 1
        now = asyncio.get_running_loop().time()
        answer = _Answer(addresses, failure, now + self._keep_s)
        self._answers = {name: kept for name, kept in self._answers.items() if kept.until > now}
        if failure is None:
            self._answers[host] = answer
        self._asked.pop(host).set_result(answer)
        self._begin_lookups()


async def connect_in_turn(resolver: Resolver, host: str, deadline: float, connect: Callable[[str], Awaitable[C]]) -> C:
    """What `connect` makes of the first of a host's addresses that it can; each has an equal share of the time left.

    Raises `Unresolved`, and `OSError` or `TimeoutError` of the last address, after which the host is looked up anew.
    """
    *others, last = await resolver.resolve(host, deadline)
    loop = asyncio.get_running_loop()
    for untried, address in zip(range(len(others), 0, -1), others, strict=True):
        share_s = (deadline - loop.time()) / (untried + 1)
        with suppress(OSError):  # a time-out too: the next one may do
            async with asyncio.timeout_at(loop.time() + share_s):
                return await connect(address)
    try:
        async with asyncio.timeout_at(deadline):
            return await connect(last)
    except OSError:
        resolver.forget(host)
        raise


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _reason(failure: Exception) -> str:
    return (isinstance(failure, OSError) and failure.strerror) or str(failure) or type(failure).__name__
