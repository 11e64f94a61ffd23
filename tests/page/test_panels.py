"""The pure parts: intervals, latency over time, cards of documents, the balance in words."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from wayside.eventing.alert import AlertEvidence
from wayside.eventing.window_findings import MovedFeature, Spending
from wayside.eventing.window_verdict import Stretch
from wayside.local.balance import TriggerCounts
from wayside.local.carriers import Carried
from wayside.local.page import drift_panels, panels
from wayside.local.page.cards import DOCUMENT_LIMIT, TEXT_LIMIT, as_text, card
from wayside.local.page.files import RecordsReading
from wayside.local.page.latency import HISTORY_S, AnswerSeries, Histogram, Sample, Samples, span_of, width_of
from wayside.local.page.panels import Readings
from wayside.local.page.rates import Measured, judge, wilson
from wayside.local.page.sources import DriftReading, LoggerReading, Reading
from wayside.sinks.embedded.reader import Alert, RecordCounts

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("hits", "n"),
    [(5, 100), (0, 50), (50, 50), (1, 1), (123, 10_000)],
)
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    exact = binomtest(hits, n).proportion_ci(0.9, method="wilson")
    found = wilson(hits, n)
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=1e-12), pytest.approx(exact.high))


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_an_interval_holds_its_share(hits: int, more: int) -> None:
    found = wilson(hits, hits + more)
    assert 0.0 <= found.low <= found.high <= 1.0
    assert not hits + more or hits / (hits + more) in found


def test_a_rate_is_judged_by_its_interval() -> None:
    assert judge(0.01, Measured(0, 0)) == "unknown"
    assert judge(0.01, Measured(1000, 11)) == "as asked"
    assert judge(0.01, Measured(1000, 40)) == "higher"
    assert judge(0.01, Measured(10_000, 40)) == "lower"


# latency


def test_answers_become_points_by_the_second_they_were_sent_in() -> None:
    series = AnswerSeries()
    for t, latency_s, status in ((100.2, 0.004, 200), (100.9, 0.002, 200), (101.5, 0.1, 502), (100.1, 0.006, 200)):
        series.add(t, 2, status, latency_s)
    first, second = series.points(1)
    assert (first.t, first.requests, first.rows, first.p50_s, first.p99_s) == (100, 3, 6, 0.004, 0.006)
    assert (second.requests, second.rows, second.p50_s) == (1, 0, None)
    (both,) = series.points(2)
    assert (both.t, both.requests) == (100, 4)
    assert series.since(101).requests == 1


def test_what_is_older_than_the_chart_is_forgotten() -> None:
    series = AnswerSeries()
    for t in range(0, 3 * HISTORY_S, 10):
        series.add(t, 1, 200, 0.001)
        series.forget()
    assert len(series.points(1)) == HISTORY_S // 10 + 1


def test_quantiles_of_a_histogram_lie_within_its_bucket() -> None:
    histogram = Histogram(((0.001, 0.0), (0.002, 10.0), (math.inf, 12.0)))
    assert histogram.quantile(0.5) == pytest.approx(0.0016)
    assert histogram.quantile(0.99) == 0.002
    assert Histogram().quantile(0.5) is None


def sample(t: float, requests: float, rows: int | None = 0) -> Sample:
    histogram = Histogram(((0.001, requests), (math.inf, requests)))
    return Sample(t, requests, rows, histogram, histogram)


def test_samples_become_points_by_difference_and_survive_a_restart() -> None:
    samples = Samples(1.0)
    for t, requests in ((0, 5), (1, 15), (2, 3), (3, 3)):
        samples.add(sample(t, requests, rows=10 * t))
    assert [point.requests for point in samples.points("request", 1)] == [10, 3, 0]
    assert [point.rows for point in samples.points("request", 1)] == [10, 10, 10]
    assert samples.last_s == 2
    assert [point.requests for point in samples.points("request", 2)] == [3]


def test_the_span_ends_now_or_with_the_traffic() -> None:
    assert span_of(None, None, 1000) == (940, 1000)
    assert span_of(990, 999, 1000) == (940, 1000)
    assert span_of(100, 999, 1000) == (100, 1000)
    assert span_of(100, 500, 1000) == (100, 505)
    assert span_of(0, 5000, 5000) == (5000 - HISTORY_S, 5000)
    assert width_of((0, HISTORY_S)) == 3
    assert width_of((0, 60)) == 1


# cards


def document(instance: Any, **more: Any) -> dict[str, Any]:
    outlier = {"data": {"instance_score": 2.0, "p_value": 0.001, "threshold": 1.0}, "meta": {"name": "knn"}}
    return {"_id": "a", "request": {"instance": instance}, "outlier": outlier, **more}


@pytest.mark.parametrize("instance", [[1] * 64, [[1] * 8] * 8, [[[1]] * 8] * 8, [0.5] * 16])
def test_a_square_of_numbers_is_a_picture(instance: Any) -> None:
    assert card(document(instance))["picture"] is not None


@pytest.mark.parametrize(
    "instance", [[1] * 9, [1] * 63, [1] * 15 + ["x"], [1] * 15 + [True], "x" * 16, None, {"a": 1}, [1] * 65**2]
)
def test_anything_else_is_a_table_of_values(instance: Any) -> None:
    made = card(document(instance))
    assert made["picture"] is None
    assert 1 <= len(made["fields"]) <= 12


def test_columns_have_their_names() -> None:
    made = card({"request": {"instance": [3, "x"], "elements": {"age": 3, "job": "x" * 500}}})
    assert made["fields"][0] == ("age", "3")
    assert len(made["fields"][1][1]) == TEXT_LIMIT


@pytest.mark.parametrize(
    ("response", "prediction", "failed"),
    [
        ({}, None, None),
        ({"instance": 7}, "7", None),
        ({"instance": 7, "statuscode": 200, "grpcstatus": 0, "latencyms": 3.5}, "7", None),
        ({"instance": {"error": "no such model"}, "statuscode": 404}, None, "error 404"),
        ({"instance": "upstream connect error", "statuscode": 503}, None, "error 503"),
        ({"instance": "", "statuscode": 200, "grpcstatus": 14}, None, "gRPC error 14"),
        ({"instance": '{"predictions": [1', "statuscode": 200, "truncated": True}, None, "cut off"),
        ({"instance": "", "redaction": "withheld"}, None, "withheld"),
        ({"instance": 7, "redaction": "applied"}, "7", None),
    ],
)
def test_an_error_is_shown_as_one_and_is_no_prediction(
    response: dict[str, Any], prediction: str | None, failed: str | None
) -> None:
    made = card({"request": {"instance": [1.0]}, "response": response})
    assert (made["prediction"], made["failed"]) == (prediction, failed)


@given(JSON, JSON, JSON)
def test_a_card_of_anything_is_small_and_json(request: Any, response: Any, outlier: Any) -> None:
    parts = {"request": request, "response": response, "outlier": outlier, "@timestamp": response}
    for made in (card(parts), card(document(request))):
        assert len(json.dumps(made, allow_nan=False)) < 100_000


@given(JSON)
def test_a_document_as_text_reads_back(value: Any) -> None:
    found = {"value": value}
    assert json.dumps(json.loads(as_text(found))) == json.dumps(found)


def test_a_long_document_is_cut() -> None:
    assert len(as_text({"a": "x" * 2 * DOCUMENT_LIMIT})) < DOCUMENT_LIMIT + 100


# the balance


def readings(
    answered: int = 10, in_windows: int = 10, waiting: int = 0, dead: int = 0, logger: LoggerReading | None = None
) -> Readings:
    counts = RecordCounts(10, 10, 0, 10, 0, in_windows, 0, 0)
    trigger = TriggerCounts("records", 5 + waiting + dead, 5, dead, waiting, 5)
    return Readings(
        now_s=1000.0,
        logger=Reading(logger, None if logger else "down"),
        broker=Reading(Carried((trigger,), 0, 0)),
        drift=Reading(DriftReading(("ns/a%2Fb/c/",), in_windows, 0, 0)),
        records=Reading(RecordsReading(counts, [], [], [], [])),
        ledger=Reading(problem="none"),
    )


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (readings(), "holds"),
        (readings(in_windows=8, waiting=1), "moving"),
        (readings(in_windows=8), "differs"),
        (readings(in_windows=8, waiting=1, dead=1), "differs"),
    ],
)
def test_the_balance_holds_moves_or_differs(found: Readings, state: str) -> None:
    shown = panels.balance(found)
    assert shown["state"] == state
    assert bool(shown["differences"]) == (state != "holds")
    assert shown["answered"] is None


def test_dropped_events_are_told() -> None:
    dropped = LoggerReading({}, {"request": 3}, {"request": 1}, {"queue_full": 2}, {}, Histogram(), Histogram())
    assert panels.balance(readings(logger=dropped))["differences"] == ["the logger dropped 2 events"]
    assert dropped.in_flight == 0


def test_a_key_is_read_back_into_its_service() -> None:
    assert panels.services(readings()) == ["a/b"]


# drift


def test_what_a_detector_tells_of_its_keys_is_read_defensively() -> None:
    """An older detector says neither what came late nor in what state its keys are."""
    old = {"keys": [{"key": "a/b/c/", "in_windows": 3, "open": 2}], "outbox": 1}
    new = {
        "key": "a/b%2Fx/c//v1",
        "in_windows": 1,
        "open": 4,
        "late": 2,
        "overflow": 3,
        "evicted": 5,
        "state": "warming up: 4 of 9 rows",
    }
    found = DriftReading.of(old) + DriftReading.of({"keys": [new], "outbox": 0})
    assert (found.in_windows, found.open, found.late, found.left_out, found.outbox) == (4, 6, 2, 8, 1)
    shown = drift_panels.drift(Reading(RecordsReading(readings().records.value.counts, [], [], [], [])), Reading(found))  # type: ignore[union-attr]
    assert shown["warming"] == [{"service": "b/x", "state": "warming up: 4 of 9 rows"}]


QUANTILES = (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (QUANTILES, QUANTILES, {"reference": [*QUANTILES], "window": [*QUANTILES]}),
        (QUANTILES, None, {"reference": [*QUANTILES], "window": None}),
        (QUANTILES, (1.0,), {"reference": [*QUANTILES], "window": None}),
        ({"a": 0.5, "b": 0.5}, {"a": 0.2, "c": 0.8}, {"shares": [("c", 0.0, 0.8), ("b", 0.5, 0.0), ("a", 0.5, 0.2)]}),
        (None, {"a": 1.0}, {"shares": [("a", 0.0, 1.0)]}),
    ],
)
def test_a_feature_is_shown_by_quantiles_or_by_shares(before: Any, now: Any, told: dict[str, Any]) -> None:
    features = [MovedFeature("x" * 500, True, 0.5, 0.001, before, now)] * 7
    evidence = AlertEvidence("v", 0, 9, Stretch("", ""), 0.5, 0.001, Spending(0.1, 0.1, 0.2), features)
    times = ("2026-11-21T10:00:00Z", "2026-11-21T10:00:01Z", None)
    found = Alert("a", "n", "s", "c", "", "", "drift", "d", "warning", *times, 1, 0, evidence)
    reading = RecordsReading(readings().records.value.counts, [], [], [found], [])  # type: ignore[union-attr]
    (shown,) = drift_panels.alerts(Reading(reading))["alerts"]
    assert (shown["state"], len(shown["features"]), shown["more"]) == ("open", 5, 2)
    assert {name: shown["features"][0][name] for name in told} == told
    assert len(shown["features"][0]["name"]) == TEXT_LIMIT
