"""Alerts in the stores: any order and any repetition of their events give one document, which ends as resolved."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from events import DRIFTS, KEY, TIME, after, alert, window
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.eventing.alert import AlertState, Severity
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.storage.database import open_connection
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict
from wayside.sinks.alerts import HISTORY_LIMIT, Alert, alert_part, merged_alert
from wayside.sinks.document import Document
from wayside.sinks.elasticsearch.indices import MAPPINGS, IndexNames
from wayside.sinks.elasticsearch.planner import plan_of
from wayside.sinks.embedded.reader import RecordReader
from wayside.sinks.embedded.store import RecordStore
from wayside.sinks.merging import Mark, Outcome, shown

OPENED = alert(AlertState.OPENED, 0)
UPDATED = alert(AlertState.UPDATED, 2, severity=Severity.CRITICAL, features=("radius", "area"))
RESOLVED = alert(AlertState.RESOLVED, 4, severity=Severity.CRITICAL, features=("radius", "area"), quiet=2)
EVENTS = [OPENED, UPDATED, RESOLVED]
REFITTED = replace(DRIFTS, digest="ef" * 32)
NAMES = IndexNames("w")


def merged(events: Sequence[CloudEvent]) -> Document:
    document: Document | None = None
    for event in events:
        document = merged_alert(document, alert_part(event).document)
    assert document is not None
    return document


@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=6).map(lambda more: [*more, *EVENTS]), st.randoms())
def test_any_order_gives_one_document(events: list[CloudEvent], draw: object) -> None:
    draw.shuffle(events)  # type: ignore[attr-defined]  # hypothesis gives a `random.Random`
    assert merged(events) == merged(EVENTS)


def test_it_ends_as_resolved_and_keeps_how_it_went() -> None:
    document = merged([RESOLVED, UPDATED, OPENED])
    assert (document["state"], document["severity"], document["windows"]) == ("resolved", "critical", 5)
    assert (document["opened"], document["resolved"]) == (after(1), after(7))
    went = [(moment["state"], moment["severity"], moment["features"]) for moment in document["history"]]
    assert went == [
        ("opened", "warning", ["radius"]),
        ("updated", "critical", ["radius", "area"]),
        ("resolved", "critical", ["radius", "area"]),
    ]


LONG = [alert_part(alert(AlertState.UPDATED if at else AlertState.OPENED, at)) for at in range(HISTORY_LIMIT + 20)]


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_history_is_bounded_whatever_the_order(draw: Random) -> None:
    document: Document | None = None
    for part in draw.sample(LONG, len(LONG)):
        document = merged_alert(document, part.document)
    assert document is not None
    kept = [moment["end"] for moment in document["history"]]
    assert kept == [10, *range(10 * (len(LONG) - HISTORY_LIMIT + 2), 10 * len(LONG) + 1, 10)]


async def stored(path: Path, events: Sequence[CloudEvent]) -> list[Outcome]:
    store = RecordStore(path)
    await store.start()
    outcomes = [await store.take(event) for event in events]
    await store.stop()
    return outcomes


def read(path: Path) -> list[Alert]:
    with closing(RecordReader(path)) as reader:
        return reader.alerts(10)


@pytest.mark.parametrize("events", [EVENTS, EVENTS[::-1]], ids=["in order", "the other way round"])
async def test_the_store_shows_the_last_word_with_its_evidence(tmp_path: Path, events: list[CloudEvent]) -> None:
    outcomes = await stored(tmp_path / "r.sqlite", [*events, *events])
    assert outcomes == [Outcome.STORED] * 3 + [Outcome.DUPLICATE] * 3
    (found,) = read(tmp_path / "r.sqlite")
    assert (found.id, found.service, found.detector, found.severity) == ("a1", "digits", "drift", "critical")
    assert (found.opened, found.updated, found.resolved) == (after(1), after(5), after(7))
    assert [feature.name for feature in found.evidence.features] == ["radius", "area"]
    assert found.evidence.p_value == 1e-4 / 5
    assert found.records == (("digits-predictor", "e1", 0),)
    assert not found.is_open


async def test_other_data_under_a_known_key_is_kept_apart(tmp_path: Path) -> None:
    body = json.loads(OPENED.data)
    body["data"]["severity"] = "critical"
    other = replace(OPENED, data=json.dumps(body).encode())
    assert await stored(tmp_path / "r.sqlite", [OPENED, other]) == [Outcome.STORED, Outcome.CONFLICT]
    assert read(tmp_path / "r.sqlite")[0].severity == "warning"


async def test_a_name_of_another_source_is_another_alert(tmp_path: Path) -> None:
    await stored(tmp_path / "r.sqlite", [OPENED, replace(OPENED, source="foreign")])
    assert len(read(tmp_path / "r.sqlite")) == 2


@pytest.mark.parametrize("change", [{"alert": "\ud800"}, {"state": "updated"}, {"evidence": None}, {"opened": "soon"}])
async def test_an_alert_that_cannot_be_read_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    body = json.loads(OPENED.data)
    body["data"] |= change
    with pytest.raises(MalformedEvent):
        await stored(tmp_path / "r.sqlite", [replace(OPENED, data=json.dumps(body).encode())])
    assert read(tmp_path / "r.sqlite") == []


async def test_the_alert_of_a_detector_that_was_replaced_is_not_open(tmp_path: Path) -> None:
    later = verdict(0, 60).event(REFITTED)
    await stored(tmp_path / "r.sqlite", [OPENED, verdict(1, 5, drift=True).event(DRIFTS)])
    assert read(tmp_path / "r.sqlite")[0].is_open
    await stored(tmp_path / "r.sqlite", [later])
    (found,) = read(tmp_path / "r.sqlite")
    assert (found.resolved, found.replaced, found.is_open) == (None, True, False)


async def test_pruning_keeps_what_is_open_while_its_windows_are_there(tmp_path: Path) -> None:
    other = alert(AlertState.OPENED, 0, name="a2", key=replace(KEY, service="gone"))
    store = RecordStore(tmp_path / "r.sqlite")
    await store.start()
    resolved = [alert(state, 0, name="a3") for state in (AlertState.OPENED, AlertState.RESOLVED)]
    for event in [OPENED, other, *resolved, verdict(1, 60).event(DRIFTS)]:
        await store.take(event)
    await store.prune(after(30))
    await store.stop()
    assert [found.id for found in read(tmp_path / "r.sqlite")] == ["a1"]


def verdict(
    at: int, seconds: float, drift: bool = False, p_values: Sequence[float] = (0.4,), error: str | None = None
) -> WindowVerdict:
    members, time = [RowRange("s", f"e{at}", 0, 10, TIME)], after(seconds)
    numbers = (None, 0.01, None) if error else (0.0001 if drift else 0.4, 0.01, 0.2)
    stretch = Stretch(after(seconds - 1), time)
    return WindowVerdict(
        KEY, 10 * at, 10 * at + 10, time, drift, *numbers, [0.2], [] if error else p_values, members,
        error=error, stretch=stretch,
    )  # fmt: skip


async def test_a_series_in_figures(tmp_path: Path) -> None:
    """Quiet since the last window that drifted, whatever order they came in; what was not judged counts for neither."""
    windows = [
        verdict(0, 1, p_values=[0.01, 0.9]),
        verdict(1, 2, drift=True, p_values=[0.0001, 0.9]),
        verdict(2, 3, p_values=[0.04, 0.9]),
        verdict(3, 4, error="too few rows"),
        verdict(4, 5, p_values=[0.06, 0.9]),
        verdict(5, 6, p_values=[]),
    ]
    await stored(tmp_path / "r.sqlite", [each.event(DRIFTS) for each in windows[::-1]])
    with closing(RecordReader(tmp_path / "r.sqlite")) as reader:
        (standing,) = reader.standings()
        rows = reader.windows(10)
    assert (standing.windows, standing.drifted, standing.unjudged, standing.quiet) == (6, 1, 1, 3)
    assert (standing.featured, standing.any_feature, standing.any_feature_quiet) == (4, 3, 1)
    assert [row.any_feature for row in rows] == [None, False, None, True, True, True]
    assert (rows[2].error, rows[2].p_value, rows[2].is_drift) == ("too few rows", None, False)
    assert (rows[0].start, rows[0].stop, rows[0].digest) == (after(5), after(6), DRIFTS.digest)


async def test_the_rows_of_a_window_that_was_not_judged_say_so(tmp_path: Path) -> None:
    await stored(tmp_path / "r.sqlite", [verdict(3, 4, error="too few rows").event(DRIFTS)])
    with closing(RecordReader(tmp_path / "r.sqlite")) as reader, closing(open_connection(reader_path(tmp_path))) as db:
        (name,) = db.execute("SELECT record_id FROM records LIMIT 1").fetchone()
        document = reader.document(name)
    assert document is not None
    assert document["drift"]["data"] == {
        "is_drift": None, "p_val": None, "threshold": 0.01, "distance": None,
        "window": {"first": 30, "end": 40, "time": after(4)}, "error": "too few rows",
    }  # fmt: skip


def reader_path(folder: Path) -> Path:
    return folder / "r.sqlite"


async def test_an_earlier_waysides_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with closing(open_connection(path)) as connection:
        connection.execute("CREATE TABLE windows (window_id TEXT PRIMARY KEY, first INTEGER)")
    with pytest.raises(ConfigurationError, match=r"earlier Wayside.*move it away"):
        await RecordStore(path).start()
    with closing(open_connection(path)) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "windows"
        ], "nothing was written into it"


def test_the_other_store_gets_the_same_document_in_the_index_of_its_day() -> None:
    known: Document | None = None
    for event in [*EVENTS, *EVENTS]:
        plan = plan_of(event, NAMES)
        assert plan is not None
        ((ref, change),) = plan.steps
        known = change.merged(known, Mark.of(event))
    assert known is not None
    assert ref.index == "w-alerts-2026.11.21"
    assert shown(known) == merged(EVENTS)
    assert len(known["wayside"]["events"]) == 3
    assert change.merged(known, Mark.of(event)) is known


def test_every_field_of_alerts_and_windows_is_mapped() -> None:
    findings = {**verdict(0, 1).data(), "error": "words"}
    del findings["members"]
    assert_mapped(merged(EVENTS), MAPPINGS["alerts"])
    plan = plan_of(window(0, 2, True, [RowRange("s", "e", 0, 2, TIME)]), NAMES)
    assert plan is not None
    (document,) = (change.merged(None, plan.mark) for ref, change in plan.steps if "-windows-" in ref.index)
    assert_mapped(shown(document), MAPPINGS["windows"])
    assert_mapped({"drift": {"data": findings}}, MAPPINGS["windows"])


def assert_mapped(value: object, mapping: object, path: str = "") -> None:
    """Fails where a document has a field that the mapping does not know."""
    assert isinstance(mapping, dict)
    if mapping.get("enabled") is False:
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name, part in item.items():
                assert name in mapping.get("properties", {}), f"{path}{name}"
                assert_mapped(part, mapping["properties"][name], f"{path}{name}.")
