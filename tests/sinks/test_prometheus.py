"""The metrics of verdicts: once each, bounded labels, and the present rather than the late."""

from dataclasses import replace

import pytest
from events import DRIFTS, TIME, after, alert, outlier, window
from prometheus_client import CollectorRegistry

from wayside.eventing.alert import AlertState
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_findings import Spending
from wayside.eventing.window_verdict import RowRange, WindowVerdict
from wayside.sinks.prometheus import PrometheusSink

LABELS = {"namespace": "default", "service": "digits", "detector": "outlier"}
DRIFT = {**LABELS, "detector": "drift", "component": "predictor", "endpoint": "", "revision": ""}
REFITTED = replace(DRIFTS, digest="ef" * 32)
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


def judged(at: int, drift: bool, **changed: object) -> WindowVerdict:
    """The window that ends `at` seconds after `TIME`."""
    key, p_value = ServiceKey("default", "digits", "predictor", ""), 0.0001 if drift else 0.4
    members, time = [RowRange("s", f"e{at}", 0, 1, TIME)], after(at)
    verdict = WindowVerdict(key, 10 * at, 10 * at + 10, time, drift, p_value, 0.01, 0.2, [0.2], [p_value], members)
    return replace(verdict, **changed)  # type: ignore[arg-type]


def shown(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"wayside_{name}", {**DRIFT, **labels})


async def test_once_there_are_alert_events_they_alone_say_what_is_open(registry: CollectorRegistry) -> None:
    """Hysteresis: a quiet window does not close what only so many of them resolve."""
    sink, seen = PrometheusSink(registry), []
    steps = [
        judged(1, True).event(DRIFTS), alert(AlertState.OPENED, 0), judged(2, False).event(DRIFTS),
        judged(3, True).event(DRIFTS), alert(AlertState.UPDATED, 2), judged(4, False).event(DRIFTS),
        judged(5, False).event(DRIFTS), alert(AlertState.RESOLVED, 2, quiet=2), judged(6, True).event(DRIFTS),
        alert(AlertState.OPENED, 5, name="a2"),
    ]  # fmt: skip
    for event in steps:
        await sink.send(event)
        seen.append(shown(registry, "drift_alert_open"))
    assert seen == [1, 1, 1, 1, 1, 1, 1, 0, 0, 1]
    assert [shown(registry, "drift_alerts_total", state=state) for state in AlertState] == [2, 1, 1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_an_alert_that_is_told_late_says_nothing_of_the_present(
    registry: CollectorRegistry, order: tuple[int, ...]
) -> None:
    sink = PrometheusSink(registry)
    events = [
        alert(AlertState.OPENED, 0),
        alert(AlertState.RESOLVED, 0, quiet=2),
        alert(AlertState.OPENED, 5, name="a2"),
    ]
    for number in order:
        await sink.send(events[number])
    assert shown(registry, "drift_alert_open") == 1
    await sink.send(alert(AlertState.RESOLVED, 5, name="a2", quiet=2))
    await sink.send(alert(AlertState.UPDATED, 5, name="a2"))
    assert shown(registry, "drift_alert_open") == 0


async def test_a_detector_in_anothers_place_ends_its_alert(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry)
    await sink.send(alert(AlertState.OPENED, 5))
    await sink.send(judged(3, False).event(REFITTED))
    assert shown(registry, "drift_alert_open") == 1, "a window of before says nothing of it"
    await sink.send(judged(9, False).event(REFITTED))
    assert shown(registry, "drift_alert_open") == 0


async def test_what_a_window_could_spend_and_what_its_series_spent(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry)
    await sink.send(judged(1, False, spending=Spending(0.004, 0.004, 0.5)).event(DRIFTS))
    await sink.send(judged(2, False, error="too few rows", spending=Spending(0.008, 0.0, 0.5)).event(DRIFTS))
    assert (shown(registry, "drift_level"), shown(registry, "drift_budget_spent")) == (0.008, 0.5)
    assert shown(registry, "drift_p_value") == 0.4, "of the last window that was judged"
    assert shown(registry, "windows_total", decision="unjudged") == 1
    assert shown(registry, "drift_alert_open") == 0


async def test_revisions_come_and_the_one_unheard_of_for_longest_goes(registry: CollectorRegistry) -> None:
    sink = PrometheusSink(registry, limit_series=2)
    for revision, at in (("1", 1), ("2", 2), ("1", 3), ("3", 4)):
        await sink.send(judged(at, True, revision=revision).event(DRIFTS))
        await sink.send(alert(AlertState.OPENED, at, name=f"a{at}", revision=revision))
    metrics = ("drift_alert_open", "drift_level", "drift_p_value")
    assert [[shown(registry, name, revision=revision) is None for name in metrics] for revision in "123"] == [
        [False] * 3, [True] * 3, [False] * 3,
    ]  # fmt: skip
    assert shown(registry, "windows_total", revision="2", decision="drift") is None
    assert shown(registry, "drift_alerts_total", revision="1", state="opened") == 2
