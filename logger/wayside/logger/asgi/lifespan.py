"""An app's lifespan, with the delivery's around it.

Source: the ASGI lifespan protocol 2.0. An app that does not know it raises, and the server goes on without.
Invariant: the delivery is there before the app starts, and is flushed after the app has shut down, before the server
is told so: a server waits for that, and ends no loop with events on it.
"""

from collections.abc import Callable

from wayside.logger.asgi.delivery import Deliveries
from wayside.logger.asgi.messages import App, Message, Receive, Scope, Send

_ENDS = frozenset(("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"))


class Lifespan:
    """Starts the delivery before the app's own start, and flushes it after the app's own end."""

    def __init__(
        self, deliveries: Deliveries, receive: Receive, send: Send, on_fault: Callable[[Exception], None]
    ) -> None:
        self._deliveries = deliveries
        self._receive = receive
        self._send = send
        self._on_fault = on_fault

    async def run(self, app: App, scope: Scope) -> None:
        await app(scope, self.receive, self.send)

    async def receive(self) -> Message:
        message = await self._receive()
        if message.get("type") == "lifespan.startup":
            try:
                await self._deliveries.here().wait_started()
            except Exception as exc:
                self._on_fault(exc)
        return message

    async def send(self, message: Message) -> None:
        if message.get("type") in _ENDS:
            try:
                await self._deliveries.stop_here()
            except Exception as exc:
                self._on_fault(exc)
        await self._send(message)
