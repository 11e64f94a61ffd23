"""Another artifact in the same folder: it judges rows of its own alone, and ends the alerts of the one before."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import Budget, CountCut, WindowSettings
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.tabular.table import Table
from wayside.eventing.alert import read_alert
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.schemas import schema
from wayside.eventing.sink import MemorySink, SinkUnavailable
from wayside.eventing.vocabulary import ALERT_OPENED, ALERT_RESOLVED, DRIFT

from .conftest import at, drift_in, later, normal_rows, request_event, wait_until

WINDOW = 50


def fitted(rows: Matrix, names: list[str], name: str = "drift", lateness_s: float = 2.0) -> Artifact:
    settings = WindowSettings(CountCut(WINDOW, WINDOW), Budget(0.01), lateness_s)
    return fit_artifact("ks", Table.of(rows, names), FitSettings(name=name, windows=WindowPlan(settings))).artifact


def swapped() -> tuple[Artifact, Artifact]:
    """Fitted on the same two columns, in another order."""
    rows = normal_rows(1000, 2, 2) * [1.0, 5.0] + [0.0, 50.0]
    return fitted(rows, ["a", "b"]), fitted(rows[:, ::-1].copy(), ["b", "a"])


def named(count: int, seed: int, **extensions: str) -> CloudEvent:
    rows = normal_rows(count, seed, 2) * [1.0, 5.0] + [0.0, 50.0]
    instances = [{"a": a, "b": b} for a, b in rows.tolist()]
    return request_event(instances, f"e{seed}{''.join(extensions.values())}", at(seed), **extensions)


async def test_rows_that_another_schema_coded_are_given_up(tmp_path: Path) -> None:
    """Ten rows that are in a snapshot, as a window closed, and ten behind it; and a key of which nothing closed."""
    before, after = swapped()
    async with drift_in(tmp_path, before) as drift:
        await drift.take(named(60, 1), named(1, 8))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
        await drift.take(named(10, 9), named(7, 9, endpoint="other"))
    async with drift_in(tmp_path, after) as drift:
        gone = drift.service.view()["gone"]
        assert (gone["keys"], gone["rows"], gone["in_windows"], gone["evicted"], gone["windows"]) == (2, 78, 50, 28, 1)
        assert (drift.keys, drift.store.replaced.rows) == ({}, 28)
        assert await drift.take(named(60, 1)) == ["duplicate"], "what was taken was taken"
        await drift.take(named(50, 20), named(1, 60))
        await wait_until(lambda: drift.view() == (51, 50, 1, 0))
    assert [(verdict.first, verdict.is_drift) for verdict in drift.verdicts] == [(0, False)]
    assert {part.id for verdict in drift.verdicts for part in verdict.members} == {"e20"}
    async with drift_in(tmp_path, after) as drift:
        assert [key["rows"] for key in drift.keys.values()] == [51]


@pytest.mark.parametrize("is_down", [False, True], ids=["the sink took its opening", "the sink was down"])
async def test_an_open_alert_ends_with_its_detector(ks: Artifact, tmp_path: Path, is_down: bool) -> None:
    sink = MemorySink(failures=[SinkUnavailable("down")] * 100_000) if is_down else MemorySink()
    async with drift_in(tmp_path, ks, sink) as drift:
        await drift.take(request_event(normal_rows(50, 60) + 1.5, "shifted", at(0)), later(70))
        await wait_until(lambda: drift.view()[:3] == (51, 50, 1))
        await wait_until(lambda: is_down or len(sink.events) == 2)
    other = fitted(normal_rows(1000, 3), list("abcd"), "successor")
    async with drift_in(tmp_path, other) as drift:
        await wait_until(lambda: drift.view()[3] == 0)
        assert drift.metrics.registry.get_sample_value("wayside_detector_alerts_total", {"outcome": "resolved"}) == 1
    told = [*sink.events, *drift.sink.events]
    assert [event.type for event in told] == [DRIFT, ALERT_OPENED, ALERT_RESOLVED]
    Draft202012Validator(schema("alert")).validate(json.loads(told[2].data))
    (opened, who), (resolved, still) = read_alert(told[1]), read_alert(told[2])
    assert (who, told[2].source, who.digest) == (still, told[1].source, ks.digest)
    assert (resolved.alert, resolved.reason) == (opened.alert, "its detector was replaced")
    assert resolved.resolved == at(68), "its key's watermark"
    async with drift_in(tmp_path, ks) as drift:
        assert drift.view()[3] == 0, "it is told once"


async def test_what_ends_with_an_artifact_ends_in_one_transaction(ks: Artifact, tmp_path: Path) -> None:
    """The disk fails before the alert's end is in the outbox: the store is as it was, and the next start ends it."""
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(normal_rows(50, 60) + 1.5, "shifted", at(0)), later(70))
        await wait_until(lambda: len(drift.sink.events) == 2)
    other = fitted(normal_rows(1000, 3), list("abcd"))
    with closing(sqlite3.connect(tmp_path / "drift.sqlite")) as connection:
        connection.execute("CREATE TRIGGER full BEFORE DELETE ON series BEGIN SELECT raise(FAIL, 'disk is full'); END")
        connection.commit()
        with pytest.raises(sqlite3.Error, match="full"):
            async with drift_in(tmp_path, other):
                pass
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
        connection.execute("DROP TRIGGER full")
        connection.commit()
    async with drift_in(tmp_path, other) as drift:
        await wait_until(lambda: [event.type for event in drift.sink.events] == [ALERT_RESOLVED])


async def test_a_series_of_another_version_is_refused(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(request_event(normal_rows(50, 60), "a", at(0)), later(70))
        await wait_until(lambda: drift.view()[2:] == (1, 0))
    with closing(sqlite3.connect(tmp_path / "drift.sqlite")) as connection:
        connection.execute("UPDATE series SET state = x'7b7d'")
        connection.commit()
    with pytest.raises(ConfigurationError, match="name another --data"):
        async with drift_in(tmp_path, fitted(normal_rows(1000, 3), list("abcd"))):
            pass
