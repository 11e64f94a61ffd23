"""The row service over real HTTP: verdicts that never change, and bad input that is told so and harms nobody."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows
from wayside.detectors.kinds.protocol import Matrix, RowDetector, Vector
from wayside.detectors.scoring.calibration import Calibration
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.answering import PLAIN, Wanted
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.row_service import RowService
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.http.message import Headers
from wayside.eventing.http_binding import decode, encode_structured
from wayside.eventing.identity import stable_id
from wayside.eventing.verdict import DetectorIdentity, read_row_verdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, RESPONSE, SELDON_REQUEST, VERDICTS

from .conftest import FEATURES, TIME, Served, normal_rows, request_event, sample, serve_answering, serve_rows

BINARY = [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"s"), (b"ce-type", REQUEST.encode())]
TIMED = [*BINARY, (b"ce-time", TIME.encode())]


async def test_a_request_is_answered_with_its_verdict(knn: Artifact) -> None:
    rows = np.vstack([np.zeros((1, 4)), np.full((1, 4), 50.0)])
    request = request_event(rows, "r-1")
    async with serve_rows(knn) as served:
        response = await served.post_event(request)
        counts = [sample(served.metrics, f"{name}_total") for name in ("rows", "rows_flagged", "rows_failed")]
        assert counts == [2, 1, 0]
    verdict = decode(response.headers, response.body)
    assert (response.status, verdict.type, verdict.time) == (200, OUTLIER, TIME)
    assert verdict.id == stable_id("verdict", request.source, "r-1", REQUEST, "outlier", knn.digest)
    assert (verdict.extensions["subjectid"], verdict.extensions["inferenceservicename"]) == ("r-1", "digits")
    columns = read_row_verdict(verdict)
    assert list(columns.decisions) == [False, True]
    assert columns.p_values[1] == 1 / 1201
    assert json.loads(verdict.data)["meta"]["artifact_digest"] == knn.digest


async def test_redelivery_gives_the_same_bytes_in_whatever_company(knn: Artifact) -> None:
    request = request_event(normal_rows(7, 30), "same")
    others = [request_event(normal_rows(count, count), str(count)) for count in range(1, 40)]
    async with serve_rows(knn) as served:
        alone = await served.post_event(request)
        together = await asyncio.gather(*(served.post_event(event) for event in [*others, request, *others]))
        structured_headers, structured_body = encode_structured(request)
        structured = await served.post(structured_body, structured_headers)
    async with serve_rows(knn) as restarted:
        later = await restarted.post_event(request)
    wanted = decode(alone.headers, alone.body)
    for response in (together[len(others)], structured, later):
        assert decode(response.headers, response.body) == wanted


@pytest.mark.parametrize("event_type", [RESPONSE, "com.example.other", *sorted(VERDICTS)])
async def test_other_events_are_acknowledged_without_a_reply(knn: Artifact, event_type: str) -> None:
    headers = [(name, event_type.encode() if name == b"ce-type" else value) for name, value in BINARY]
    async with serve_rows(knn) as served:
        response = await served.post(b"{}", headers)
        assert (response.status, response.body, served.count("ignored")) == (202, b"", 1)


@pytest.mark.parametrize(("name", "value"), [("truncated", "true"), ("redaction", "withheld"), ("statuscode", "500")])
async def test_what_is_no_input_is_acknowledged_without_a_reply(knn: Artifact, name: str, value: str) -> None:
    async with serve_rows(knn) as served:
        response = await served.post_event(request_event(normal_rows(2, 1), **{name: value}))
        assert (response.status, response.body, served.count("ignored")) == (202, b"", 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"null", "is null"),
        (b"3", "is a number"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (gzip.compress(b'{"instances":[[1,2,3,4]]}', mtime=0)[:-9], "cut off"),
        (b'{"instances":null}', "it is null"),
        (b'{"instances":[]}', "no rows"),
        (b'{"instances":[[]]}', "no value"),
        (b'{"instances":[[1,2,3,4],[1,2]]}', "ragged"),
        (b'{"instances":[[1,2,3]]}', "3 features, the detector was fitted on 4"),
        (b'{"instances":[["1","2","3","4"]]}', "not numeric"),
        (b'{"instances":[[1,2,3,"4"]]}', "name"),
        (b'{"instances":["cat"]}', "not numeric"),
        (b'{"instances":[{"a":1,"b":2,"c":3,"d":4}]}', "names"),
        (b'{"inputs":[{"name":"x","shape":"4","data":[1,2,3,4]}]}', "shape"),
        (b'{"inputs":[{"name":"x","shape":[2,4],"data":[1,2,3,4]}]}', "do not fill"),
        (b'{"inputs":[]}', "no rows"),
        (b'{"instances":' + b"[" * 200_000, "levels deep"),
        (b'{"instances":' + b"[" * 900 + b"1" + b"]" * 900 + b"}", ""),
        (b'{"instances":[[1,2,3,' + b"9" * 400 + b"]]}", "not numeric"),
    ],
)
async def test_bad_payloads_are_a_400_with_a_reason(knn: Artifact, body: bytes, reason: str) -> None:
    async with serve_rows(knn) as served:
        response = await served.post(body, TIMED)
        assert (response.status, served.count("malformed")) == (400, 1)
        assert reason in response.body.decode()
        assert (await served.post_event(request_event([[1, 2, 3, 4]]))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b'{"instances":[[1,2,3,4]]}', mtime=0),
        b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
    ],
    ids=["gzip that is not declared", "V2"],
)
async def test_other_encodings_are_scored(knn: Artifact, body: bytes) -> None:
    async with serve_rows(knn) as served:
        assert (await served.post(body, TIMED)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        BINARY[1:],
        [*TIMED, (b"ce-id", b"2")],
        [*BINARY, (b"ce-time", b"yesterday")],
        [(b"content-type", b"application/cloudevents+json")],
        [(b"content-type", b"application/cloudevents-batch+json")],
    ],
)
async def test_bad_events_are_a_400_with_a_reason(knn: Artifact, headers: list[tuple[bytes, bytes]]) -> None:
    async with serve_rows(knn) as served:
        response = await served.post(b'{"instances":[[1,2,3,4]]}', headers)
        assert (response.status, served.count("malformed")) == (400, 1)
        assert len(response.body) > 10


async def test_a_row_without_a_finite_score_is_flagged_and_told_beside_the_others(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        response = await served.post(b'{"instances":[[0,0,0,0],[1e200,0,0,0]]}', TIMED)
        assert (sample(served.metrics, "rows_failed_total"), sample(served.metrics, "rows_flagged_total")) == (1, 1)
    columns = read_row_verdict(decode(response.headers, response.body))
    assert list(columns.decisions) == [False, True]
    assert (columns.scores[1], columns.p_values[1]) == (None, 1 / 1201)
    errors = json.loads(response.body)["data"]["error"]
    assert (errors[0], "no finite score" in errors[1]) == (None, True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"null", "column 3: the value is missing"),
        (b"NaN", "column 3: the value is missing or not a number"),
        (b"-Infinity", "column 3: the value is infinite"),
        (b"1e400", "column 3: the value is infinite"),
    ],
)
@pytest.mark.parametrize("headers", [[], [(b"alibi-detect-return-feature-score", b"true")]], ids=["plain", "features"])
async def test_a_row_that_does_not_fit_is_an_error_verdict_beside_the_others(
    mahalanobis: Artifact, value: bytes, reason: str, headers: Headers
) -> None:
    good = b"[1,0,1,0],[9,9,9,9]"
    async with serve_rows(mahalanobis) as served:
        alone = await served.post(b'{"instances":[%b]}' % good, [*TIMED, *headers])
        response = await served.post(b'{"instances":[%b,[0,0,%b,0]]}' % (good, value), [*TIMED, *headers])
        assert (sample(served.metrics, "rows_failed_total"), served.count("scored")) == (1, 2)
    others, data = (json.loads(each.body)["data"] for each in (alone, response))
    assert [data["instance_score"], data["is_outlier"]] == [[*others["instance_score"], None], [0, 1, 1]]
    assert data["p_value"][2] == min(data["p_value"])
    assert (data["error"][:2], reason in data["error"][2]) == ([None, None], True)
    if headers:
        assert data["feature_score"] == [*others["feature_score"], [None] * 4]


@pytest.mark.parametrize("event_type", [SELDON_REQUEST, REQUEST])
async def test_the_requests_of_kserve_and_of_seldon_are_judged(knn: Artifact, event_type: str) -> None:
    async with serve_rows(knn) as served:
        response = await served.post_event(replace(request_event([[1, 2, 3, 4]]), type=event_type))
    assert decode(response.headers, response.body).type == OUTLIER


async def test_an_event_without_a_time_is_judged_and_so_is_its_verdict_without_one(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        response = await served.post_event(request_event([[1, 2, 3, 4]], time_text=None))
        again = await served.post_event(request_event([[1, 2, 3, 4]], time_text=None))
    verdict = decode(response.headers, response.body)
    assert (response.status, verdict.time, "requesttime" in verdict.extensions) == (200, None, False)
    assert decode(again.headers, again.body) == verdict


class Absolutes(RowDetector):
    """Scores a row by its largest absolute value, and a feature by its own."""

    kind: ClassVar[str] = "absolutes"
    summary: ClassVar[str] = "for tests"
    gives_feature_scores: ClassVar[bool] = True
    features = FEATURES

    def score(self, rows: Matrix) -> Vector:
        return np.abs(rows).max(axis=1)

    def feature_scores(self, rows: Matrix) -> Matrix:
        return np.abs(rows)


@asynccontextmanager
async def served_absolutes(wanted: Wanted = PLAIN) -> AsyncIterator[Served]:
    """A detector with feature scores: a row is flagged above 9, a column above 2."""
    schema = Schema.of_width(FEATURES)
    ones = np.ones(FEATURES)
    calibration = Calibration(np.linspace(0.0, 9.1, 1000), 0.01)
    judge = RowJudge(
        *(schema, Preprocessing(schema, 0 * ones, 0 * ones, ones), Absolutes(), calibration, calibration.threshold),
        2.0 * ones,
    )
    identity = DetectorIdentity("absolutes", "absolutes", "ab" * 32, 0.01)
    service = RowService(judge, identity, DetectorMetrics("absolutes"), BatchLimits())
    await service.start()
    try:
        async with serve_answering(service, wanted=wanted) as served:
            yield served
    finally:
        await service.stop()


SCORES, BY_FEATURE = (b"alibi-detect-return-feature-score", b"true"), (b"alibi-detect-outlier-type", b"feature")
FEATURED = b'{"instances":[[0,1,0,0],[0,3,0,-4],[0,0,0,10]]}'
FEATURE_SCORES = [[0.0, 1.0, 0.0, 0.0], [0.0, 3.0, 0.0, 4.0], [0.0, 0.0, 0.0, 10.0]]
FLAGS = [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("headers", "wanted", "is_outlier", "feature_score", "decisions"),
    [
        ([], PLAIN, [0, 0, 1], None, [False, False, True]),
        ([SCORES], PLAIN, [0, 0, 1], FEATURE_SCORES, [False, False, True]),
        ([], Wanted(feature_scores=True), [0, 0, 1], FEATURE_SCORES, [False, False, True]),
        ([BY_FEATURE], PLAIN, FLAGS, None, [False, False, True]),
        ([BY_FEATURE, SCORES], PLAIN, FLAGS, FEATURE_SCORES, [False, False, True]),
    ],
    ids=["plain", "scores", "scores always", "by feature", "by feature with scores"],
)
async def test_features_are_told_only_where_they_are_wanted(
    headers: Headers, wanted: Wanted, is_outlier: object, feature_score: object, decisions: list[bool]
) -> None:
    async with served_absolutes(wanted) as served:
        response = await served.post(FEATURED, [*TIMED, *headers])
        assert sample(served.metrics, "rows_flagged_total") == sum(decisions)
    data = json.loads(response.body)["data"]
    assert (data["is_outlier"], data.get("feature_score")) == (is_outlier, feature_score)
    assert read_row_verdict(decode(response.headers, response.body)).decisions == decisions


async def test_what_others_want_does_not_change_a_verdict() -> None:
    async with served_absolutes() as served:
        alone = await served.post(FEATURED, TIMED)
        many = [served.post(FEATURED, [*TIMED, *headers]) for headers in ([], [SCORES], [BY_FEATURE], [], [SCORES])]
        together = await asyncio.gather(*many)
    assert alone.body == together[0].body == together[3].body
    assert together[1].body == together[4].body != alone.body


async def test_verdicts_that_say_more_have_ids_of_their_own() -> None:
    async with served_absolutes() as served:
        asked: list[Headers] = [[], [SCORES], [BY_FEATURE], [SCORES, BY_FEATURE]]
        ids = [(await served.post(FEATURED, [*TIMED, *headers])).header(b"ce-id") for headers in (*asked, *asked)]
    assert ids[:4] == ids[4:]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("header", [SCORES, BY_FEATURE])
async def test_a_kind_without_feature_scores_answers_without_them(knn: Artifact, header: tuple[bytes, bytes]) -> None:
    assert knn.calibration is not None
    without = replace(knn, calibration=CalibrationRows(knn.calibration.scores))
    async with serve_rows(without) as served:
        plain, asked = [
            await served.post(b'{"instances":[[1,2,3,4]]}', headers) for headers in (TIMED, [*TIMED, header])
        ]
    assert asked.status == 200
    assert decode(asked.headers, asked.body) == decode(plain.headers, plain.body)


async def test_a_verdict_says_what_alibi_detect_says(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        meta = json.loads((await served.post(b'{"instances":[[1,2,3,4]]}', TIMED)).body)["meta"]
    assert {"name", "online", "data_type", "version", "detector_type"} <= set(meta)
    assert (meta["name"], meta["online"], meta["data_type"]) == ("outlier", False, "tabular")


async def test_small_events_do_not_wait_for_a_large_one(knn: Artifact) -> None:
    large, small = request_event(normal_rows(20_000, 3), "large"), request_event(normal_rows(1, 4), "small")
    async with serve_rows(knn) as served:
        first = asyncio.create_task(served.post_event(large))
        answered = 0
        while not first.done():
            assert (await served.post_event(small)).status == 200
            answered += 1
        assert len(json.loads((await first).body)["data"]["is_outlier"]) == 20_000
    assert answered > 3


async def test_the_same_event_gives_the_same_bytes_under_load(mahalanobis: Artifact) -> None:
    events = [request_event(normal_rows(size, size), str(size)) for size in (1, 2, 3, 5, 17, 40, 400, 5000)]
    async with serve_rows(mahalanobis, batch=BatchLimits(max_batch_rows=256)) as served:
        alone = {event.id: (await served.post_event(event)).body for event in events}
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(events)), 6))
        together = await asyncio.gather(*(served.post_event(events[at]) for at in order))
    for at, response in zip(order, together, strict=True):
        assert response.body == alone[events[at].id]
