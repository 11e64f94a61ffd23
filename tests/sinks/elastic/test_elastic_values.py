"""The pure parts: names, shapes, bulk requests and their answers, slices and rounds."""

import json
from dataclasses import replace

import pytest
from events import TIME, request, response, window

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused
from wayside.eventing.window_verdict import RowRange
from wayside.sinks.document import row_parts
from wayside.sinks.elasticsearch.bulk import Fate, Stored, Verdict, Write, fate_of, requests
from wayside.sinks.elasticsearch.indices import MAPPINGS, DocumentRef, IndexNames, shape_faults, template
from wayside.sinks.elasticsearch.joining import Progress, Round, slices
from wayside.sinks.elasticsearch.planner import Plan, plan_of
from wayside.sinks.merging import Outcome

NAMES = IndexNames("wayside")
REF = DocumentRef("wayside-records-2026.11.21", "a")


def plan(event: CloudEvent) -> Plan:
    made = plan_of(event, NAMES)
    assert made is not None
    return made


def test_indices_are_daily_and_a_pattern_matches_its_own_kind() -> None:
    assert NAMES.daily("records", "2026-11-21T23:59:59.999999999Z") == "wayside-records-2026.11.21"
    assert template(NAMES, "windows")["index_patterns"] == ["wayside-windows-*"]


def test_nothing_of_a_payload_is_parsed_and_nothing_guessed() -> None:
    for mappings in MAPPINGS.values():
        assert mappings["dynamic"] == "false"
        assert mappings["properties"]["wayside"] == {"type": "object", "enabled": False}
    side = MAPPINGS["records"]["properties"]["request"]["properties"]
    assert {side[name]["enabled"] for name in ("instance", "elements", "names")} == {False}


def test_what_a_side_says_of_how_it_went_can_be_searched() -> None:
    said = {"statuscode": "503", "grpcstatus": "14", "latencyms": "2.5", "truncated": "true", "redaction": "applied"}
    side = row_parts(response(b"no healthy upstream", **said))[0].side
    kinds = {name: MAPPINGS["records"]["properties"]["response"]["properties"][name]["type"] for name in said}
    assert {name: (kinds[name], side[name]) for name in said} == {
        "statuscode": ("long", 503),
        "grpcstatus": ("long", 14),
        "latencyms": ("double", 2.5),
        "truncated": ("boolean", True),
        "redaction": ("keyword", "applied"),
    }
    assert template(NAMES, "records")["version"] == 5  # over one that was put before these were there


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"properties": {"a": {"type": "date"}, "b": {"properties": {"c": {"type": "long"}}}, "more": {}}}, None),
        ({"properties": {"a": {"type": "text"}}}, "field 'a' is text, and should be date"),
        ({"properties": {"a": {"type": "date"}, "b": {}}}, "field 'b.c' is not mapped, and should be long"),
        (
            {"properties": {"a": {"type": "date"}, "b": {"type": "object", "enabled": False}}},
            "field 'b' is object (not enabled), and should be object",
        ),
        ({}, "field 'a' is not mapped"),
    ],
)
def test_another_shape_is_named_by_its_first_field(found: dict[str, object], words: str | None) -> None:
    needed = {"properties": {"a": {"type": "date"}, "b": {"type": "object", "properties": {"c": {"type": "long"}}}}}
    fault = next(shape_faults(needed, found), None)
    assert (fault is None) if words is None else fault is not None and fault.startswith(words)


@pytest.mark.parametrize(
    ("status", "kind", "verdict"),
    [
        (201, "", Verdict.WRITTEN),
        (200, "", Verdict.WRITTEN),
        (400, "document_parsing_exception", Verdict.REFUSED),
        (400, "validation_exception", Verdict.DENIED),  # too many shards: no fault of the document
        (403, "cluster_block_exception", Verdict.DENIED),
        (404, "index_not_found_exception", Verdict.DENIED),
        (409, "version_conflict_engine_exception", Verdict.OUTDATED),
        (413, "content_too_long", Verdict.TOO_LARGE),
        (429, "es_rejected_execution_exception", Verdict.OVERLOADED),
        (503, "unavailable_shards_exception", Verdict.FAILING),
    ],
)
def test_what_an_item_came_to(status: int, kind: str, verdict: Verdict) -> None:
    error = {"error": {"type": kind, "reason": "words"}} if kind else {}
    assert fate_of({"index": {"status": status, **error}}).verdict is verdict


def test_a_write_names_the_version_it_replaces() -> None:
    new, known = Write(REF, {"x": "\ud800"}, None), Write(REF, {"x": 1}, Stored({}, 7, 2))
    action, document = new.encoded().splitlines()
    assert json.loads(action) == {"create": {"_index": REF.index, "_id": "a"}}
    assert document == b'{"x":"\\ud800"}'
    assert json.loads(known.encoded().splitlines()[0])["index"]["if_seq_no"] == 7


def test_requests_are_bounded_and_keep_their_order() -> None:
    writes = [Write(replace(REF, id=str(n)), {"x": "y" * (500 if n == 3 else 10)}, None) for n in range(8)]
    made = list(requests(writes, 300))
    assert [write for request in made for write, _ in request] == writes
    assert all(sum(len(lines) for _, lines in request) <= 300 or len(request) == 1 for request in made)


def test_slices_keep_events_whole_but_for_large_ones() -> None:
    events = [request([[0.0]] * rows, f"e{number}") for number, rows in enumerate((2, 2, 7, 1))]
    cut = [[item.progress.plan.event.id for item in items] for items in slices(map(Progress, map(plan, events)), 3)]
    assert cut == [["e0"] * 2, ["e1"] * 2, ["e2"] * 3, ["e2"] * 3, ["e2", "e3"]]


def work(*events: CloudEvent) -> tuple[Round, list[Progress]]:
    progresses = [Progress(plan(event)) for event in events]
    return Round([item for items in slices(progresses, 100) for item in items]), progresses


def test_parts_of_one_record_are_one_write() -> None:
    round_, progresses = work(request([[1.0]]), response([1]), request([[1.0]]))
    (ref,) = round_.refs()
    (write,) = round_.writes({ref: None})
    round_.settle({ref: Fate(Verdict.WRITTEN)})
    assert {"request", "response"} <= set(write.document)
    assert [progress.result() for progress in progresses] == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE]
    assert round_.refs() == []


def test_a_known_event_needs_no_write() -> None:
    first, _ = work(request([[1.0]]))
    (ref,) = first.refs()
    (write,) = first.writes({ref: None})
    again, progresses = work(request([[1.0]]))
    assert again.writes({ref: Stored(write.document, 1, 1)}) == []
    again.settle({})
    assert progresses[0].result() is Outcome.DUPLICATE


def test_of_a_refused_document_only_the_event_at_fault_is_refused() -> None:
    round_, progresses = work(request([[1.0]]), response([1]))
    (ref,) = round_.refs()
    round_.writes({ref: None})
    round_.settle({ref: Fate(Verdict.REFUSED, "both at once")})
    stored: Stored | None = None
    for verdict in (Verdict.WRITTEN, Verdict.REFUSED):
        (write,) = round_.writes({ref: stored})
        round_.settle({ref: Fate(verdict, "the response")})
        stored = Stored(write.document, 1, 1)
    assert progresses[0].result() is Outcome.STORED
    assert isinstance(progresses[1].result(), EventRefused)


def test_an_outdated_write_is_merged_anew() -> None:
    round_, (progress,) = work(response([1]))
    (ref,) = round_.refs()
    round_.writes({ref: None})
    round_.settle({ref: Fate(Verdict.OUTDATED)})
    other, _ = work(request([[1.0]]))
    meanwhile = Stored(other.writes({ref: None})[0].document, 5, 1)
    (write,) = round_.writes({ref: meanwhile})
    assert {"request", "response"} <= set(write.document)
    assert progress.open


def test_a_conflict_is_found_by_any_row_and_writes_none() -> None:
    first, _ = work(request([[1.0]]))
    (ref,) = first.refs()
    stored = Stored(first.writes({ref: None})[0].document, 1, 1)
    round_, (progress,) = work(request([[2.0], [3.0]]))
    assert round_.writes({**dict.fromkeys(round_.refs()), ref: stored}) == []
    assert progress.conflicting


def test_a_window_that_names_a_row_twice_says_it_once() -> None:
    member = RowRange("digits-predictor", "e1", 0, 1, TIME)
    assert len(plan(window(0, 2, True, [member, member])).steps) == 2
