"""`PayloadLoggerMiddleware`: an ASGI app around an ASGI app, which captures what passes.

Source: the ASGI specification 3.0 and its lifespan protocol 2.0.
Invariant: the app and the server get the messages that they would get without it, in the same order and as early.
Whatever goes wrong in here is counted in `faults` and told in the log once; requests are served all the same.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wayside.eventing.clock import SystemClock
from wayside.logger.asgi.delivery import Deliveries
from wayside.logger.asgi.exchange import Exchange
from wayside.logger.asgi.lifespan import Lifespan
from wayside.logger.asgi.messages import (
    App,
    Receive,
    Scope,
    Send,
    is_bodiless,
    request_head,
    with_seen_bodies,
)
from wayside.logger.asgi.options import Value, settings_of
from wayside.logger.capture.recording import Recorder
from wayside.logger.counts import LoggerCounts
from wayside.logger.delivery import EventDelivery
from wayside.logger.settings import LoggerSettings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

log = logging.getLogger("wayside.logger")


class PayloadLoggerMiddleware:
    """Captures the HTTP requests of `app` and their responses as events, and sends them to a log url.

    Probes of Kubernetes and Knative make no events, nor do WebSockets. A request becomes events where the app reads its
    body to the end. Events are sent from the loop that the app runs on; at its lifespan's end they are flushed for
    `grace` seconds at most.

    `settings` are used as they are. Without them, settings are the flags of `wayside logger` as keyword arguments
    (`log_url="http://…"`, `inference_service="digits"`, `sample="10%"`; `source` is short for `source_uri`), and below
    them `WAYSIDE_LOGGER_…` in `environ`, the process's own if none is given. Without a log url nothing is captured.
    Metrics are shown in `registry`, if one is given.
    """

    def __init__(
        self,
        app: App,
        settings: LoggerSettings | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        registry: "CollectorRegistry | None" = None,
        **keywords: Value,
    ) -> None:
        """Raises `ConfigurationError` for settings that cannot be used."""
        if settings is None:
            settings = settings_of(keywords, os.environ if environ is None else environ)
        elif keywords:
            raise TypeError(f"give either settings or keyword arguments, not both: {', '.join(sorted(keywords))}")
        self.counts = LoggerCounts()
        self.faults = 0
        self._app = app
        self._deliveries = Deliveries(settings, self.counts) if settings.delivery.url else None
        self._recorder = self._recorder_of(settings)
        if registry is not None:
            self.register(registry)

    def _recorder_of(self, settings: LoggerSettings) -> Recorder | None:
        if self._deliveries is None:
            return None
        return Recorder(settings.capture, settings.identity, self.counts, self._deliveries, SystemClock())

    def register(self, registry: "CollectorRegistry") -> None:
        """Show the logger's metrics in a Prometheus registry. Needs `prometheus_client`."""
        from wayside.logger.asgi.metrics import MiddlewareMetrics

        registry.register(MiddlewareMetrics(self.counts, self._delivery))

    def _delivery(self) -> EventDelivery | None:
        return self._deliveries.latest if self._deliveries is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app. Raises what it raises."""
        if self._deliveries is not None:
            if scope["type"] == "http":
                await self._serve(scope, receive, send)
                return
            if scope["type"] == "lifespan":
                await Lifespan(self._deliveries, receive, send, self._note_fault).run(self._app, scope)
                return
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            exchange = self._begin(scope)
        except Exception as exc:
            self._note_fault(exc)
            exchange = None
        if exchange is None:
            await self._app(scope, receive, send)
        else:
            await exchange.run(self._app, with_seen_bodies(scope), receive, send)

    def _begin(self, scope: Scope) -> Exchange | None:
        """The exchange of a request; None for a probe."""
        assert self._deliveries is not None, "without a log url nothing is captured"
        assert self._recorder is not None, "without a log url nothing is captured"
        head = request_head(scope)
        if head.is_probe:
            return None
        self._deliveries.here()
        exchange = Exchange(self._recorder.begin(head), self.counts, self._note_fault, head.method)
        if is_bodiless(scope, head):
            exchange.request_is_whole()
        return exchange

    def _note_fault(self, exc: Exception) -> None:
        self.faults += 1
        if self.faults == 1:
            log.error("the payload logger failed; requests are served all the same", exc_info=exc)
