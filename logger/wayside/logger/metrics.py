"""The logger's own metrics, for Prometheus: what was answered, captured, sent and dropped, and how long it took.

Invariant: reads what `counts`, the emitter and the spool count anyway, at each scrape; the serving path never waits for
a metric. Every reason for a drop that can occur is there from the start, as 0.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from wayside.logger.capture.bodies import CAPTURE_FULL, TOO_LARGE
from wayside.logger.capture.recording import REFUSED
from wayside.logger.counts import KINDS, Durations, LoggerCounts
from wayside.logger.delivery import EventDelivery
from wayside.logger.emit.failing import FAILING
from wayside.logger.emit.spool import REASONS, Spool
from wayside.logger.http2.exchange import UNREADABLE
from wayside.logger.http2.observer import TOO_MANY_STREAMS, Http2Counts
from wayside.logger.redaction.side_process import FAILED, FULL, SideProcess

_PREFIX = "wayside_logger_"
_ALWAYS: tuple[str, ...] = (TOO_LARGE, CAPTURE_FULL, REFUSED, FAILING, "queue_full", "shutdown")
Metric = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class LoggerMetrics(Collector):
    """Register it in a registry. Without a `delivery` nothing is captured; `http2` is the proxy's alone."""

    def __init__(
        self, counts: LoggerCounts, delivery: EventDelivery | None = None, http2: Http2Counts | None = None
    ) -> None:
        self._counts = counts
        self._delivery = delivery
        self._http2 = http2

    def collect(self) -> Iterator[Metric]:
        delivery = self._delivery
        yield _gauge("capturing", "1 where events are made, 0 where nothing is captured.", delivery is not None)
        yield from self._serving()
        yield from self._events()
        yield from self._durations()
        if self._http2 is not None:
            yield from _http2(self._http2)
        if delivery is not None:
            yield from _queue(delivery)
            if delivery.emitter.spool is not None:
                yield from _spool(delivery.emitter.spool)
            if delivery.side is not None:
                yield from _side_work(delivery.side)

    def _reasons(self) -> tuple[str, ...]:
        """Why an event can be dropped, as things are set."""
        reasons, delivery = _ALWAYS, self._delivery
        if delivery is not None and delivery.emitter.spool is not None:
            reasons += REASONS
        if delivery is not None and delivery.side is not None:
            reasons += (FULL, FAILED)
        if self._http2 is not None:
            reasons += (TOO_MANY_STREAMS, UNREADABLE)
        return reasons

    def _serving(self) -> Iterator[Metric]:
        counts = self._counts
        codes = {(str(code),): number for code, number in counts.responses.items()}
        yield _counters("responses", "Responses to clients by status.", ("code",), codes)
        yield _counter("requests", "Requests that were no probes.", counts.exchanges)
        yield _counter("requests_sampled_out", "Requests left out by sampling.", counts.sampled_out)

    def _events(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counters("events_captured", "Events made of bodies.", ("kind",), _by_kind(counts.captured))
        yield _counters("events_sent", "Events that the log url accepted.", ("kind",), _by_kind(counts.sent))
        dropped = dict.fromkeys(((kind, reason) for kind in KINDS for reason in self._reasons()), 0) | counts.dropped
        yield _counters("events_dropped", "Events given up, by reason.", ("kind", "reason"), dropped)
        attempts = {(outcome,): number for outcome, number in counts.attempts.items()}
        yield _counters("send_attempts", "Posts to the log url by outcome.", ("outcome",), attempts)
        yield _counter("truncated_bodies", "Bodies of which only the beginning was captured.", counts.truncated)

    def _durations(self) -> Iterator[Metric]:
        counts = self._counts
        for name, words, durations in (
            ("request", "From a request's arrival to the end of its response.", counts.request),
            ("upstream", "From the first byte to the model server to the last byte from it.", counts.upstream),
            ("added", "What a request spent inside the logger: the rest of the two above.", counts.added),
            ("send", "What the log url took to answer a post.", counts.send),
        ):
            yield _histogram(f"{name}_seconds", words, durations)


def _by_kind(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(kind,): number for kind, number in counts.items()}


def _counter(name: str, words: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, words, value)


def _counters(name: str, words: str, labels: tuple[str, ...], values: Mapping[Any, int]) -> CounterMetricFamily:
    """`values` are by the labels' values, a tuple each."""
    family = CounterMetricFamily(_PREFIX + name, words, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, words, value)


def _histogram(name: str, words: str, durations: Durations) -> HistogramMetricFamily:
    family = HistogramMetricFamily(_PREFIX + name, words)
    total, buckets = 0, []
    for bound, number in zip((*map(float, durations.bounds_s), float("inf")), durations.counts, strict=True):
        total += number
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    family.add_metric((), buckets, durations.sum_s)
    return family


def _queue(delivery: EventDelivery) -> Iterator[Metric]:
    queue = delivery.emitter.queue
    yield _gauge("queue_events", "Events that wait for a place in flight.", len(queue))
    yield _gauge("queue_bytes", "Bytes that wait or are being sent.", queue.bytes)
    yield _gauge("queue_limit_events", "The queue's bound in events.", queue.limit_items)
    yield _gauge("queue_limit_bytes", "The queue's bound in bytes.", queue.limit_bytes)
    words = "Captured events in memory: waiting, being redacted or sent, or on their way to the spool."
    yield _gauge("memory_events", words, delivery.in_memory)


def _http2(counts: Http2Counts) -> Iterator[Metric]:
    yield _counter("http2_connections", "Connections of clients that speak HTTP/2.", counts.connections)
    yield _counter("http2_unserved_connections", "Those for which the model server took none.", counts.unserved)
    yield _counter("http2_unlogged_calls", "Calls that no event is made of: streams, health checks.", counts.unlogged)
    yield _counter("http2_streams", "Calls over HTTP/2, whether an event is made of them or not.", counts.streams)
    words = "Connections that could not be read to their end; their bytes passed all the same."
    yield _counter("http2_unreadable_connections", words, counts.unreadable)


def _side_work(side: SideProcess) -> Iterator[Metric]:
    yield _gauge("side_work_events", "Events on their way through the second process.", side.in_hand)
    yield _gauge("side_work_bytes", "Their bytes.", side.in_hand_bytes)
    yield _counter("redacted_events", "Events in which redaction rules replaced something.", side.applied)
    yield _counter("withheld_events", "Events sent without data, since it could not be redacted.", side.withheld)


def _spool(spool: Spool) -> Iterator[Metric]:
    counts = spool.counts
    yield _gauge("spool_events", "Events that wait on disk.", spool.waiting)
    yield _gauge("spool_bytes", "Bytes that wait on disk, as last read.", spool.gauges.waiting_bytes)
    yield _gauge("spool_limit_bytes", "The spool's bound in bytes.", spool.settings.limit_bytes)
    yield _gauge("spool_oldest_seconds", "How long the oldest event has been on disk.", spool.oldest_age_s)
    yield _counter("spool_found_events", "Events that waited on disk when this process began.", counts.found)
    yield _counter("spool_appended_events", "Events that were written to disk.", counts.appended)
    yield _counter("spool_sent_events", "Events from disk that the log url accepted.", counts.sent)
    yield _counter("spool_overflow_events", "Events dropped from disk for want of room.", counts.overflowed)
