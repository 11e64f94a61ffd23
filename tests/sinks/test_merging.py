"""Merging: any order and any repetition of the same parts give the same document, and it is the embedded store's."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from events import DRIFTS, OUTLIERS, TIME, outlier, request, response, window
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id
from wayside.eventing.verdict import RowVerdict
from wayside.eventing.vocabulary import ADVERSARIAL, OUTLIER, REQUEST_TIME
from wayside.eventing.window_verdict import RowRange
from wayside.sinks.document import ROWS_LIMIT, Document, row_parts
from wayside.sinks.embedded.reader import RecordReader
from wayside.sinks.embedded.store import RecordStore
from wayside.sinks.merging import Knowledge, Mark, PayloadPart, contributions, knowledge, part_of, shown

ROWS = [[1.0, 2.0], [3.0, 4.0]]
MEMBERS = [RowRange("digits-predictor", "e1", 0, 2, TIME)]
LATER = "2026-11-22T00:00:01Z"


def verdict(kind: str, decision: bool, score: float | None, **changed: str) -> CloudEvent:
    judge = replace(OUTLIERS, **changed)  # type: ignore[arg-type]
    return RowVerdict(kind, [score, 0.5], [0.5, 0.25], [decision, False], 3.0).event(request(ROWS), judge)


def without_request_time(event: CloudEvent, time: str) -> CloudEvent:
    kept = {name: value for name, value in event.extensions.items() if name != REQUEST_TIME}
    return replace(event, extensions=kept, time=time)


EVENTS = [
    request(ROWS, revision="1"),
    without_request_time(response([7, 8, 9], requestid="another", revision="2"), LATER),
    outlier([False, True]),
    verdict(OUTLIER, True, None, digest="ef" * 32),
    replace(verdict(OUTLIER, True, 9.5), id="another detector's id", source="foreign"),
    verdict(ADVERSARIAL, True, 2.5),
    window(0, 2, True, MEMBERS),
    window(1, 3, False, MEMBERS),
]


def merged_documents(events: list[CloudEvent]) -> dict[str, Document]:
    """Every record as a store keeps it, by its id."""
    documents: dict[str, Document] = {}
    for event in events:
        part = part_of(event)
        assert part is not None
        for contribution in contributions(part):
            known = documents.get(contribution.record_id)
            documents[contribution.record_id] = contribution.merged(known, Mark.of(event))
    return documents


def merged(events: list[CloudEvent]) -> dict[str, Document]:
    """Every record as people see it, by its id."""
    return {name: shown(document) for name, document in merged_documents(events).items()}


async def embedded(path: Path, events: list[CloudEvent]) -> dict[str, Document]:
    store = RecordStore(path)
    await store.start()
    for event in events:
        await store.take(event)
    await store.stop()
    with closing(RecordReader(path)) as reader:
        found = {name: reader.document(name) for name in merged_documents(events)}
        assert reader.size() == len(found)
    return {name: {**document, "_id": None} for name, document in found.items() if document}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(EVENTS), min_size=1, max_size=12).flatmap(
        lambda some: st.tuples(st.just(some), st.permutations(some))
    )
)
def test_order_and_repetition_change_nothing(pair: tuple[list[CloudEvent], list[CloudEvent]]) -> None:
    some, shuffled = pair
    once = list({event.key: event for event in some}.values())
    assert merged(shuffled) == merged(some) == merged(once)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=10))
def test_the_embedded_store_gives_the_same_documents(events: list[CloudEvent]) -> None:
    with TemporaryDirectory() as folder:
        found = asyncio.run(embedded(Path(folder) / "records.sqlite", events))
    assert found == {name: {**document, "_id": None} for name, document in merged(events).items()}


def test_a_known_event_under_other_bytes_is_never_merged() -> None:
    first, other = request(ROWS), request([[9.0, 9.0], [9.0, 9.0]])
    document = merged_documents([first])[record_id("digits-predictor", "e1", 0)]
    assert knowledge(document, Mark.of(first)) is Knowledge.SAME
    assert knowledge(document, Mark.of(other)) is Knowledge.OTHER
    assert knowledge(document, Mark.of(response([1]))) is Knowledge.NONE
    part = part_of(other)
    assert part is not None
    with pytest.raises(ValueError, match="other bytes"):
        next(contributions(part)).merged(document, Mark.of(other))


def test_the_time_and_the_head_are_the_requests() -> None:
    late = without_request_time(response([1, 2], requestid="another", revision="2"), LATER)
    asked = request(ROWS, revision="1")
    for events in ([asked, late], [late, asked]):
        document = merged(events)[record_id("digits-predictor", "e1", 0)]
        assert (document["@timestamp"], document["requestid"], document["revision"]) == (TIME, "client-e1", "1")
    assert merged([late])[record_id("digits-predictor", "e1", 0)]["revision"] == "2"
    assert "revision" not in merged([request(ROWS)])[record_id("digits-predictor", "e1", 0)]
    assert merged([late])[record_id("digits-predictor", "e1", 0)]["@timestamp"] == "2026-11-22T00:00:01.000000000Z"


def test_of_several_verdicts_by_one_judge_the_most_severe_stands() -> None:
    mild, severe = verdict(OUTLIER, False, 1.0), replace(verdict(OUTLIER, True, 2.0), id="again")
    for events in ([mild, severe], [severe, mild]):
        shown_verdict = merged(events)[record_id("digits-predictor", "e1", 0)]["outlier"]
        assert shown_verdict["data"]["is_outlier"] == 1
        assert "others" not in shown_verdict


def test_a_name_that_cannot_be_encoded_is_malformed() -> None:
    event = window(0, 1, True, [RowRange("surrogate", "x", 0, 1, TIME)])
    part = part_of(replace(event, data=event.data.replace(b"surrogate", b"\\ud800")))
    assert part is not None
    with pytest.raises(MalformedEvent, match="surrogate"):
        list(contributions(part))


def test_the_verdicts_meta_is_shown() -> None:
    document = merged(EVENTS)[record_id("digits-predictor", "e1", 0)]
    assert document["drift"]["meta"] == DRIFTS.meta()
    assert [document["outlier"]["meta"]["artifact_digest"][:2], len(document["outlier"]["others"])] == ["ab", 1]


def test_a_payload_of_too_many_rows_is_one_row_whole() -> None:
    body = b'{"instances": [%s]}' % b",".join([b"0"] * (ROWS_LIMIT + 1))
    part = part_of(request(body))
    assert isinstance(part, PayloadPart)
    (row,) = part.rows
    assert len(row.side["instance"]["instances"]) == ROWS_LIMIT + 1


def test_a_row_verdict_of_too_many_rows_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="over 1000000 rows"):
        part_of(outlier([False] * (ROWS_LIMIT + 1)))


def tensors(names: list[str], rows: int) -> bytes:
    columns = [{"name": name, "shape": [rows], "datatype": "FP32", "data": [0] * rows} for name in names]
    return json.dumps({"inputs": columns}).encode()


@pytest.mark.parametrize(("names", "instance"), [(["n" * 100_000], 0), (["n" * 50_000, "m" * 50_000], [0, 0])])
def test_names_of_columns_cannot_make_small_requests_huge_records(names: list[str], instance: object) -> None:
    sides = [row.side for row in row_parts(request(tensors(names, 1_000)))]
    assert len(sides) == 1_000
    assert sides[0]["instance"] == instance
    assert not {"names", "elements"} & set(sides[0])
    kept = row_parts(request(tensors(names, 2)))[0].side
    assert kept["names"] == names


def test_a_zero_has_no_sign_in_either_store(tmp_path: Path) -> None:
    events = [RowVerdict(OUTLIER, [-0.0], [-0.0], [False], -0.0).event(request(ROWS), OUTLIERS)]
    found = asyncio.run(embedded(tmp_path / "records.sqlite", events))
    assert "-0.0" not in json.dumps(merged(events))
    assert json.dumps(found).replace('"_id": null, ', "") == json.dumps(merged(events))
