"""What is wrong with rows or times has an outcome of its own, and harms neither other keys nor what comes after it."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import Budget, CountCut, MissingValues, SpanCut, WindowSettings
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.tabular.table import Table
from wayside.eventing.clock import FakeClock, parse_time
from wayside.eventing.event import CloudEvent

from .conftest import (
    Drift,
    DriftTerms,
    Served,
    at,
    drift_in,
    later,
    normal_rows,
    request_event,
    serve_answering,
    wait_until,
)

WINDOW = 50
NAMES = ("age", "hours", "state")
GOOD = normal_rows(WINDOW, 7)


def fitted(rows: Any = None, missing: MissingValues = MissingValues.KEEP, cut: Any = None) -> Artifact:
    settings = WindowSettings(cut or CountCut(WINDOW, WINDOW), Budget(0.01), missing=missing)
    table = Table.of(normal_rows(1000, 2) if rows is None else rows)
    return fit_artifact("ks", table, FitSettings(name="drift", windows=WindowPlan(settings, missing=missing))).artifact


def named(rows: int, state: str = "a") -> CloudEvent:
    values = normal_rows(rows, 3, 2).tolist()
    instances = [{"age": age, "hours": hours, "state": state} for age, hours in values]
    return request_event(instances, f"named {state}", at(1))


@asynccontextmanager
async def served_drift(folder: Path, artifact: Artifact, **terms: Any) -> AsyncIterator[tuple[Drift, Served]]:
    async with drift_in(folder, artifact, terms=DriftTerms(**terms)) as drift, serve_answering(drift.service) as served:
        yield drift, served


def broken(data: bytes, **changes: Any) -> CloudEvent:
    return replace(request_event(GOOD, "bad", at(0)), data=data, **changes)


REFUSED = [
    pytest.param(request_event([[1.0] * 5], "bad", at(0)), "5", id="too wide"),
    pytest.param(request_event([[1.0] * 3], "bad", at(0)), "3", id="too narrow"),
    pytest.param(request_event([[1.0] * 4, [1.0] * 3], "bad", at(0)), "row", id="ragged"),
    pytest.param(request_event([[1, 2, 3, "x"]], "bad", at(0)), "", id="a text for a number"),
    pytest.param(request_event([], "bad", at(0)), "row", id="no rows"),
    pytest.param(broken(b"{"), "JSON", id="no JSON"),
    pytest.param(broken(gzip.compress(b"{}")[:9]), "", id="cut gzip"),
    pytest.param(request_event(GOOD, "bad", None), "time", id="no time"),
    pytest.param(request_event(GOOD, "bad", "yesterday"), "time", id="no timestamp"),
    pytest.param(request_event(GOOD, "bad", "0001-01-01T00:00:00Z"), "before 1970", id="Go's zero time"),
    pytest.param(
        request_event(GOOD, "é" * 513, at(0)), "event's id is 1026 bytes long, 1024 are the most", id="a long id"
    ),
    pytest.param(broken(b"{}", source="/" + "s" * 1024), "event's source is 1025 bytes", id="a long source"),
    pytest.param(request_event(GOOD, "bad", "9999-01-01T00:00:00Z"), "ahead of the clock", id="far ahead"),
]


@pytest.mark.parametrize(("bad", "why"), REFUSED)
async def test_a_bad_event_is_refused_alone(ks: Artifact, tmp_path: Path, bad: CloudEvent, why: str) -> None:
    """First in its window, and again in the middle of it; another key's window closes all the same."""
    async with served_drift(tmp_path, ks) as (drift, served):
        for rows, second in ((GOOD[:20], 1), (GOOD[20:], 2)):
            refused = await served.post_event(bad)
            assert (refused.status, why in refused.body.decode()) == (400, True), refused.body
            for endpoint in ("", "other"):
                event = request_event(rows, f"{endpoint}{second}", at(second), endpoint=endpoint)
                assert (await served.post_event(event)).status == 202
        await drift.take(later(9), later(9, event_id="other end", endpoint="other"))
        await wait_until(lambda: drift.view() == (102, 100, 2, 0))
        assert served.count("malformed") == 2
    assert [verdict.error for verdict in drift.verdicts] == [None, None]


@pytest.mark.parametrize("policy", list(MissingValues))
async def test_missing_values_by_policy(tmp_path: Path, policy: MissingValues) -> None:
    reference = normal_rows(1000, 2)
    reference[::100, 1] = np.nan if policy is not MissingValues.REFUSE else 0.0
    rows = GOOD.copy()
    rows[:5, 1] = np.nan
    async with served_drift(tmp_path, fitted(reference, policy)) as (drift, served):
        status = (await served.post_event(request_event(rows, "nan", at(0)))).status
        await drift.take(request_event(normal_rows(WINDOW, 8), "good", at(1)), later(9))
        is_refused = policy is MissingValues.REFUSE
        assert status == (400 if is_refused else 202)
        await wait_until(lambda: drift.view()[2:] == (1 if is_refused else 2, 0))
    first = drift.verdicts[0]
    assert first.error is None
    if policy is MissingValues.DROP:
        assert first.findings.missing is not None
        assert first.findings.missing.dropped == 5


async def test_a_window_that_misses_too_much_is_unjudged_and_the_next_is_judged(tmp_path: Path) -> None:
    rows = GOOD.copy()
    rows[:40] = np.nan
    async with drift_in(tmp_path, fitted(missing=MissingValues.DROP)) as drift:
        await drift.take(
            request_event(rows, "nan", at(0)), request_event(normal_rows(WINDOW, 8), "good", at(1)), later(9)
        )
        await wait_until(lambda: drift.view()[2:] == (2, 0))
        (key,) = drift.keys.values()
        assert (key["unjudged"], key["windows"]) == (1, 2)
    assert [verdict.outcome == "unjudged" for verdict in drift.verdicts] == [True, False]


async def test_constant_features_and_infinite_values_come_to_a_verdict(tmp_path: Path) -> None:
    reference = normal_rows(1000, 2)
    reference[:, 3] = 7.0
    huge, same = GOOD.copy(), GOOD.copy()
    same[:, 3] = 7.0
    huge[:, 3] = 1e308 * 10
    body = request_event(huge, "huge", at(1))
    body = replace(body, data=body.data.replace(b"Infinity", b"1e400"))
    async with served_drift(tmp_path, fitted(reference)) as (drift, served):
        await drift.take(request_event(same, "same", at(0)))
        status = (await served.post_event(body)).status
        assert status in (202, 400)
        await drift.take(later(9))
        await wait_until(lambda: drift.view()[2:] == (2 if status == 202 else 1, 0))
    assert not drift.verdicts[0].is_drift
    assert all(verdict.outcome in ("drift", "unjudged") for verdict in drift.verdicts[1:])


async def test_a_category_that_was_never_seen_is_one_more_category(tmp_path: Path) -> None:
    values = np.column_stack([normal_rows(1000, 2, 2), np.arange(1000) % 2])
    table = Table(values, NAMES, {2: ("a", "b")})
    plan = FitSettings(name="drift", windows=WindowPlan.of_rows(WINDOW))
    artifact = fit_artifact("tabular", table, plan).artifact
    async with served_drift(tmp_path, artifact) as (drift, served):
        assert (await served.post_event(named(WINDOW, "never seen"))).status == 202
        assert (await served.post_event(request_event([[1.0, 2.0, 0]], "nameless", at(1)))).status == 400
        await drift.take(replace(named(1), id="end", time=at(9)))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
    assert drift.verdicts[0].is_drift


async def test_an_empty_span_gives_no_verdict_and_is_counted(tmp_path: Path) -> None:
    events = [request_event(normal_rows(60, n), str(n), at(second)) for n, second in enumerate((0, 10, 300))]
    async with drift_in(tmp_path, fitted(cut=SpanCut(60.0, 60.0))) as drift:
        await drift.take(*events, later(400))
        await wait_until(lambda: drift.view()[2:] == (2, 0))
        (key,) = drift.keys.values()
        assert key["empty_windows"] >= 4
        assert key["rows"] == key["in_windows"] + key["open"]


async def test_clocks_that_run_backwards_make_late_rows_of_their_own_key_alone(ks: Artifact, tmp_path: Path) -> None:
    now = FakeClock(parse_time(at(10_000)))
    async with served_drift(tmp_path, ks, clock=now) as (drift, served):
        for second, endpoint in ((9_000, "a"), (10_299, "a"), (9_000, "b")):
            event = request_event(GOOD, f"{second}{endpoint}", at(second), endpoint=endpoint)
            assert (await served.post_event(event)).status == 202
        ahead = await served.post_event(request_event(GOOD, "ahead", at(10_301), endpoint="a"))
        assert (ahead.status, b"301 s ahead of the clock here" in ahead.body) == (400, True)
        hour_late = request_event(GOOD, "late", at(10_299 - 3600), endpoint="a")
        assert (await served.post_event(hour_late)).status == 202
        await asyncio.sleep(0)
        told = {name[0]: (key["rows"], key["late"]) for name, key in drift.keys.items()}
        assert told == {"a": (150, 50), "b": (50, 0)}
        await drift.take(later(9_100, endpoint="b"))
        await wait_until(lambda: drift.view()[2:] == (2, 0))
