"""What a detector does to its windows besides judging them: it is away for a while, or fails on some of them for ever;
and what becomes of an alert whose key is given up."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from wayside.detectors.alibi.errors import WorkerLost
from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.drift.stream import WindowStream
from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.kinds.protocol import Execution, Sample, State, WindowDetector, WindowTest
from wayside.detectors.scoring.judge import restore_window_detector
from wayside.detectors.serving.catalogue import release_of
from wayside.eventing.alert import read_alert
from wayside.eventing.schemas import schema
from wayside.eventing.vocabulary import ALERT_RESOLVED, ServiceKey

from .conftest import DriftTerms, at, drift_in, later, normal_rows, request_event, wait_until


class Failing(WindowDetector):
    """A detector that raises before some of its tests."""

    kind = "failing"

    def __init__(self, sound: WindowDetector, error: Callable[[Sample, int], Exception | None]) -> None:
        self._sound, self._error = sound, error
        self.calls = 0

    @property
    def features(self) -> int:
        return self._sound.features

    @property
    def least_rows(self) -> int:
        return self._sound.least_rows

    def test(self, window: Sample) -> WindowTest:
        self.calls += 1
        error = self._error(window, self.calls)
        if error is not None:
            raise error
        return self._sound.test(window)

    def state(self) -> State:
        return self._sound.state()


def failing(artifact: Artifact, error: Callable[[Sample, int], Exception | None]) -> tuple[Failing, DriftTerms]:
    sound, windowed = restore_window_detector(artifact, Execution())
    detector = Failing(sound, error)
    return detector, DriftTerms(judge=WindowJudge.around(detector, windowed, artifact.schema, artifact.identity()))


async def test_what_is_away_is_waited_for(ks: Artifact, tmp_path: Path) -> None:
    detector, terms = failing(ks, lambda _, call: WorkerLost("it died") if call < 8 else None)
    async with drift_in(tmp_path, ks, terms=terms) as drift:
        await drift.take(request_event(normal_rows(100, 1), "a", at(0)), later(9))
        await wait_until(lambda: drift.view() == (101, 100, 2, 0))
    assert detector.calls == 9
    assert [verdict.error for verdict in drift.verdicts] == [None, None]


async def test_a_window_on_which_the_detector_fails_is_unjudged_and_its_key_goes_on(
    ks: Artifact, tmp_path: Path
) -> None:
    def error(window: Sample, call: int) -> Exception | None:
        return IndexError(f"at {id(window):x}") if window.rows[0, 0] > 90 else None

    detector, terms = failing(ks, error)
    async with drift_in(tmp_path, ks, terms=terms) as drift:
        rows = [normal_rows(50, n) + (100 if n == 1 else 0) for n in range(3)]
        await drift.take(*(request_event(each, f"{n}", at(n)) for n, each in enumerate(rows)), later(9))
        await wait_until(lambda: drift.view() == (151, 150, 3, 0))
        assert [key["unjudged"] for key in drift.keys.values()] == [1]
    assert [verdict.first for verdict in drift.verdicts] == [0, 50, 100]
    assert [verdict.error for verdict in drift.verdicts] == [
        *(None, "the detector failed with IndexError: its log has the details", None)
    ]
    assert detector.calls == 5, "three tries, and what was judged is not judged again"


def test_a_stream_gives_up_the_same_windows(ks: Artifact) -> None:
    _, terms = failing(ks, lambda window, _: IndexError("whatever") if window.rows[0, 0] > 90 else None)
    assert terms.judge is not None
    rows = [normal_rows(50, n) + (100 if n == 1 else 0) for n in range(3)]
    key = WindowKey(ServiceKey("", "", "", ""))
    arrivals = [Arrival(n, key, "s", str(n), n, at(0), each) for n, each in enumerate([*rows, rows[0]])]
    late = replace(arrivals[-1], time_ns=10**11)
    outcomes = [judged.outcome for judged in WindowStream(terms.judge).run([*arrivals[:3], late])]
    assert outcomes[1] == "unjudged"
    assert len(outcomes) == 3


@pytest.mark.parametrize("closes", [True, False], ids=["a process", "memory alone"])
def test_what_a_detector_holds_is_given_back(closes: bool) -> None:
    closed: list[bool] = []
    held = SimpleNamespace(close=lambda: closed.append(True)) if closes else SimpleNamespace()
    release_of(held)()
    assert closed == [True] * closes


async def test_what_fails_once_is_tried_again(ks: Artifact, tmp_path: Path) -> None:
    _, terms = failing(ks, lambda _, call: MemoryError() if call == 1 else None)
    async with drift_in(tmp_path, ks, terms=terms) as drift:
        await drift.take(request_event(normal_rows(50, 1), "a", at(0)), later(9))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
    assert [verdict.error for verdict in drift.verdicts] == [None]


@pytest.mark.parametrize("limits", [WindowLimits(keys=1), WindowLimits(idle_s=3600.0)], ids=["too many", "idle"])
async def test_an_alert_ends_with_its_key(ks: Artifact, tmp_path: Path, limits: WindowLimits) -> None:
    async with drift_in(tmp_path, ks, terms=DriftTerms(limits)) as drift:
        await drift.take(request_event(normal_rows(50, 1) + 2, "a", at(0)), later(10))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
        await drift.take(later(7200, endpoint="other"))
        await wait_until(lambda: drift.service.view()["gone"]["keys"] == 1 and drift.view()[3] == 0)
        assert drift.metrics.registry.get_sample_value("wayside_detector_alerts_total", {"outcome": "resolved"}) == 1
    event = drift.sink.events[-1]
    Draft202012Validator(schema("alert")).validate(json.loads(event.data))
    alert, _ = read_alert(event)
    assert (event.type, alert.quiet, alert.reason) == (ALERT_RESOLVED, 0, "its key was given up: idle, or one too many")
    assert alert.resolved == at(8 if limits.keys == 1 else 7198)
