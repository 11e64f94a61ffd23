"""Replayed windows beside a service that takes the same events: the same bytes in the same order, also where a key is
given up, a detector fails, or an event is longer than a window."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.settings import Budget, CountCut, WindowLimits, WindowSettings
from wayside.detectors.drift.stream import Ended, WindowStream
from wayside.detectors.drift.windowing.values import Arrival, Fate, WindowKey
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.kinds.protocol import Execution, Sample
from wayside.detectors.tabular.event_rows import Side
from wayside.detectors.tabular.table import Table
from wayside.eventing import json_format
from wayside.eventing.clock import FakeClock, parse_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ALERT_OPENED, ALERT_RESOLVED, DRIFT, OUTLIER, ServiceKey
from wayside.local.replay.replaying import ReplayedWindows, ReplaySettings

from .conftest import DriftTerms, at, drift_in, later, normal_rows, request_event, wait_until
from .test_drift_lanes import failing

DAY_S = 86400


def replayed(
    judge: WindowJudge, events: Sequence[CloudEvent], limits: WindowLimits, side: Side = Side.REQUEST
) -> tuple[list[CloudEvent], str]:
    """What is said of events of which nobody knows when they came, and of all of them together."""
    said: list[CloudEvent] = []
    detector = ReplayedWindows(judge, ReplaySettings(side, limits=limits), said.append)
    for event in events:
        detector.take(event, None)
    return said, "\n".join(detector.told())


async def served(
    folder: Path, artifact: Artifact, terms: DriftTerms, events: Sequence[CloudEvent], count: int
) -> list[CloudEvent]:
    async with drift_in(folder, artifact, terms=terms) as drift:
        await drift.take(*events)
        await wait_until(lambda: len(drift.sink.events) >= count and not drift.view()[3])
        return list(drift.sink.events)


async def check_equal(
    folder: Path, artifact: Artifact, events: Sequence[CloudEvent], terms: DriftTerms
) -> tuple[list[CloudEvent], str]:
    judge = terms.judge or WindowJudge.of(artifact, artifact.identity(), Execution())
    said, told = replayed(judge, events, terms.limits)
    posted = await served(folder, artifact, terms, events, len(said))
    assert [json_format.encode(each) for each in said] == [json_format.encode(each) for each in posted]
    return said, told


@pytest.mark.parametrize("limits", [WindowLimits(keys=1), WindowLimits(idle_s=3600.0)], ids=["too many", "idle"])
async def test_an_open_alert_ends_with_its_key(ks: Artifact, tmp_path: Path, limits: WindowLimits) -> None:
    shifted = [request_event(normal_rows(rows, rows) + 2, f"s{rows}", at(60 - rows), endpoint="a") for rows in (50, 9)]
    other = request_event(normal_rows(50, 7), "o", at(2 * DAY_S), endpoint="b")
    again = later(2 * DAY_S + 10, endpoint="b")
    said, told = await check_equal(tmp_path, ks, [*shifted, other, again], DriftTerms(limits))
    types = [event.type for event in said if event.extensions.get("endpoint") == "a"]
    assert (types.count(ALERT_OPENED), types[-1]) == (1, ALERT_RESOLVED)
    assert "alerts: 1 opened, 1 resolved" in told
    assert "110 rows of 1 keys: 100 in windows, 1 open, 0 late, 0 overflow, 9 evicted" in told


async def test_a_window_on_which_the_detector_fails_is_unjudged(ks: Artifact, tmp_path: Path) -> None:
    _, terms = failing(ks, lambda window, _: IndexError("bad") if window.rows[0, 0] > 90 else None)
    events = [request_event(normal_rows(50, n) + (100 if n == 1 else 0), f"e{n}", at(n)) for n in range(3)]
    _, told = await check_equal(tmp_path, ks, [*events, later(30)], terms)
    assert "3 windows: 2 no drift, 1 unjudged" in told


def second(_: Sample, call: int) -> Exception | None:
    return MemoryError() if call == 2 else None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(second, "3 windows: 3 no drift", id="what may pass is tried again"),
        pytest.param(lambda *_: IndexError(), "3 windows: 3 unjudged", id="each fails for ever"),
    ],
)
def test_a_detector_that_fails_ends_no_replay(
    ks: Artifact, error: Callable[[Sample, int], Exception | None], told: str
) -> None:
    _, terms = failing(ks, error)
    assert terms.judge is not None
    events = [request_event(normal_rows(50, n), f"e{n}", at(n)) for n in range(3)]
    assert told in replayed(terms.judge, [*events, later(30)], WindowLimits())[1]


@pytest.fixture(scope="module")
def weekly() -> Artifact:
    windows = WindowPlan(WindowSettings(CountCut(50, 50), Budget.parse("1 per week")))
    return fit_artifact("ks", Table.of(normal_rows(2000, 2)), FitSettings(name="drift", windows=windows)).artifact


async def test_events_longer_than_a_window_under_a_budget_by_time(weekly: Artifact, tmp_path: Path) -> None:
    parts = [normal_rows(256, n) + (1.5 if n > 4 else 0) for n in range(8)]
    events = [request_event(rows, f"e{n}", at(n * DAY_S / 4)) for n, rows in enumerate(parts)]
    said, _ = await check_equal(tmp_path, weekly, [*events, later(4 * DAY_S)], DriftTerms())
    types = [event.type for event in said]
    assert types.count(DRIFT) == 8 * 256 // 50
    assert ALERT_OPENED in types


async def test_a_clock_that_was_ahead_makes_no_others_late(ks: Artifact, tmp_path: Path) -> None:
    """Where it is known when events came, as a broker's log and Kafka tell."""
    clock, said = FakeClock(parse_time(at(0))), list[CloudEvent]()
    detector = ReplayedWindows(WindowJudge.of(ks, ks.identity(), Execution()), ReplaySettings(), said.append)
    events = [(0.0, later(250)), *((60.0 * n, request_event(normal_rows(60, n), f"{n}", at(60 * n))) for n in range(5))]
    async with drift_in(tmp_path, ks, terms=DriftTerms(clock=clock)) as drift:
        for came_s, event in events:
            clock.now_ns = parse_time(at(came_s))
            fates = (*await drift.take(event), detector.take(event, clock.time_ns()))
            assert fates == ("scored", "taken")
        await wait_until(lambda: len(drift.sink.events) >= len(said) and not drift.view()[3])
        posted = list(drift.sink.events)
    assert [json_format.encode(each) for each in said] == [json_format.encode(each) for each in posted]
    assert "4 windows" in detector.told()[1]


def test_verdicts_on_one_inference_have_one_order(ks_one: Artifact) -> None:
    """Whichever of two detectors told first."""
    rows = np.random.default_rng(1).random(40)
    events = [
        replace(
            request_event([], f"v{n}", at(n // 2), subjectsource="/model", subjectid=f"i{n // 2}"),
            type=OUTLIER,
            source=f"/wayside/detectors/d{n % 2}",
            data=json.dumps({"data": {"p_value": [value]}, "meta": {}}).encode(),
        )
        for n, value in enumerate(rows.tolist())
    ]
    swapped = [events[n ^ 1] for n in range(len(events))]
    judge = WindowJudge.of(ks_one, ks_one.identity(), Execution())
    said = [replayed(judge, each, WindowLimits(), Side.VERDICT)[0] for each in (events, swapped)]
    assert len(said[0]) >= 4
    assert said[0] == said[1]


@pytest.fixture(scope="module")
def ks_one() -> Artifact:
    """Of one column, in windows of an odd number of rows."""
    plan = FitSettings(name="drift", windows=WindowPlan.of_rows(9))
    return fit_artifact("ks", Table.of(normal_rows(1000, 2, 1)), plan).artifact


def test_a_stream_tells_an_arrivals_fate_and_the_end_of_a_key(ks: Artifact) -> None:
    judge = WindowJudge.of(ks, ks.identity(), Execution())
    stream = WindowStream(judge, WindowLimits(keys=1))
    first, second = (WindowKey(ServiceKey("", "", "", name)) for name in "ab")
    taken = [(first, 0), (first, 100), (first, 1), (second, 200)]
    arrivals = [
        Arrival(n, key, "s", str(n), second * 10**9, at(second), normal_rows(50, n) + 2)
        for n, (key, second) in enumerate(taken)
    ]
    told = [(fate, list(said)) for fate, said in map(stream.take, arrivals)]
    assert [fate for fate, _ in told] == [Fate.TAKEN, Fate.TAKEN, Fate.LATE, Fate.TAKEN]
    (ended,) = told[3][1]
    assert isinstance(ended, Ended)
    assert (ended.key, [alert.type for alert in ended.alerts]) == (first, [ALERT_RESOLVED])
    rows = {"in_windows": 50, "open": 50, "late": 50, "overflow": 0, "evicted": 50}
    assert stream.rows() == rows
    assert sum(rows.values()) == sum(len(arrival.rows) for arrival in arrivals)
