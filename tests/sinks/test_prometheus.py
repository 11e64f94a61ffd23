"""The metrics of verdicts: once each, bounded labels, and the present rather than the late."""

from dataclasses import replace

import pytest
from events import DRIFTS, TIME, outlier, window
from prometheus_client import CollectorRegistry

from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import RowRange, WindowVerdict
from wayside.eventing.vocabulary import ServiceKey
from wayside.sinks.prometheus import PrometheusSink

LABELS = {"namespace": "default", "service": "digits", "detector": "outlier"}
DRIFT = {**LABELS, "detector": "drift"}
MEMBERS = [RowRange("s", "x", 0, 1, "2026-11-21T10:00:00Z")]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_rows_are_counted_once(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry)
    for _ in range(3):
        await sink.send(outlier([True, False, True]))
    assert registry.get_sample_value("wayside_rows_scored_total", LABELS) == 3
    assert registry.get_sample_value("wayside_rows_flagged_total", LABELS) == 2
    assert registry.get_sample_value("wayside_false_alarm_budget", LABELS) == 0.01
    assert registry.get_sample_value("wayside_prometheus_events_total", {"outcome": "duplicate"}) == 2


async def test_the_alert_follows_the_last_window(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry)
    await sink.send(window(0, 10, True, MEMBERS))
    assert registry.get_sample_value("wayside_drift_alert_open", DRIFT) == 1
    await sink.send(window(20, 30, False, MEMBERS))
    await sink.send(window(10, 20, True, MEMBERS))
    assert registry.get_sample_value("wayside_drift_alert_open", DRIFT) == 0
    assert registry.get_sample_value("wayside_drift_p_value", DRIFT) == 0.4
    assert registry.get_sample_value("wayside_windows_total", {**DRIFT, "decision": "drift"}) == 2


async def test_labels_are_bounded(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry, limit_series=2)
    for number in range(5):
        event = outlier([True], f"e{number}")
        named = {**event.extensions, "inferenceservicename": f"service-{number}"}
        await sink.send(replace(event, extensions=named))
    other = dict.fromkeys(LABELS, "other")
    assert registry.get_sample_value("wayside_rows_scored_total", other) == 3


async def test_memory_of_verdicts_is_bounded(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry, remember=2)
    for number in (1, 2, 3, 1):
        await sink.send(outlier([True], f"e{number}"))
    assert registry.get_sample_value("wayside_rows_scored_total", LABELS) == 4


def window_of(endpoint: str, first: int, drift: bool) -> CloudEvent:
    key, p_value = ServiceKey("default", "digits", "predictor", endpoint), 0.0001 if drift else 0.4
    members, time = [RowRange("s", endpoint, 0, 1, TIME)], TIME
    verdict = WindowVerdict(key, first, first + 10, time, drift, p_value, 0.01, 0.2, [0.2], [p_value], members)
    return verdict.event(DRIFTS)


async def test_memory_of_positions_is_bounded(registry: CollectorRegistry) -> None:
    """Endpoints are in no label and foreign events name as many as they like: the oldest positions are forgotten."""
    sink = PrometheusSink(registry, limit_series=1)
    await sink.send(window_of("e0", 50, drift=False))
    for number in range(1, 9):
        await sink.send(window_of(f"e{number}", 50, drift=False))
    await sink.send(window_of("e8", 40, drift=True))
    assert registry.get_sample_value("wayside_drift_alert_open", DRIFT) == 0, "known: a late window says nothing"
    await sink.send(window_of("e0", 40, drift=True))
    assert registry.get_sample_value("wayside_drift_alert_open", DRIFT) == 1, "forgotten: taken for the present"
