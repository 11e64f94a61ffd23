"""The port that clients connect to: who is connected, who has been slow for too long, and how all of it ends.

Invariant: a connection is among the peers from its first byte to its last, whatever it speaks, so that the drain sees
it.
"""

import asyncio
import logging

from wayside.eventing.http.server import listen
from wayside.logger.proxy.connection import ClientConnection
from wayside.logger.proxy.exchange import Proxy

log = logging.getLogger("wayside.logger")
_POLL_S = 0.02
_SWEEP_S = 5.0
_GONE_S = 0.1


class ProxyServer:
    """Listens on one address. `port` is the port in use once `start` has returned."""

    def __init__(self, proxy: Proxy, host: str, port: int, *, shares_port: bool = False) -> None:
        self._proxy = proxy
        self._host = host
        self._shares_port = shares_port
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self.port = port

    @property
    def listening(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        """Raises `ConfigurationError` where the port is in use."""
        self._server = await listen(self._accept, self._host, self.port, reuse_port=self._shares_port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweep()

    def _accept(self) -> ClientConnection:
        return ClientConnection(self._proxy)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for peer in list(self._proxy.peers):
            peer.sweep(now_s)
        self._sweeping = loop.call_later(_SWEEP_S, self._sweep)

    async def wait_quiet(self, quiet_s: float, limit_s: float) -> None:
        """Serve on until no request has come for `quiet_s`, or for `limit_s` at most.

        Kubernetes withdraws the endpoint while it stops the pod, and Knative's queue-proxy sends on for a while.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + limit_s
        seen, quiet_since_s = self._asked, loop.time()
        while (now_s := loop.time()) < min(end_s, quiet_since_s + quiet_s):
            await asyncio.sleep(min(_POLL_S * 5, max(0.0, end_s - now_s)))
            if self._asked != seen:
                seen, quiet_since_s = self._asked, loop.time()

    @property
    def _asked(self) -> int:
        """Rises with every request; those over HTTP/2 that are recorded count twice."""
        return self._proxy.counts.exchanges + self._proxy.splices.counts.streams

    async def drain(self, deadline_s: float) -> None:
        """Take no more connections; let requests in hand finish until the loop's time is `deadline_s`; close the rest.
        May be called twice or before `start`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for peer in list(self._proxy.peers):
            peer.drain()
        while any(peer.busy for peer in self._proxy.peers):
            if asyncio.get_running_loop().time() >= deadline_s:
                log.warning("stopped with requests in hand; their connections are closed")
                break
            await asyncio.sleep(_POLL_S)
        for peer in list(self._proxy.peers):
            peer.break_off()
        await self._see_gone()
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _see_gone(self) -> None:
        """Until the loop has told each connection of its end: an answer that was cut off makes its event then."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + _GONE_S
        while self._proxy.peers:
            if loop.time() >= end_s:
                break
            await asyncio.sleep(0)
