"""The metrics of a middleware, for the registry of the app that it is in.

Invariant: the same metrics as the proxy's, read at each scrape; imported only where a registry is given, for nothing
else here needs `prometheus_client`.
"""

from collections.abc import Callable, Iterator

from prometheus_client.registry import Collector

from wayside.logger.counts import LoggerCounts
from wayside.logger.delivery import EventDelivery
from wayside.logger.metrics import LoggerMetrics, Metric


class MiddlewareMetrics(Collector):
    """`delivery` tells the one that runs now: an app's loop, and with it the delivery, comes after its middleware."""

    def __init__(self, counts: LoggerCounts, delivery: Callable[[], EventDelivery | None]) -> None:
        self._counts = counts
        self._delivery = delivery

    def collect(self) -> Iterator[Metric]:
        yield from LoggerMetrics(self._counts, self._delivery()).collect()
