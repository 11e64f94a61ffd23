"""The row service over real HTTP: verdicts that never change, and bad input that is told so and harms nobody."""

import asyncio
import gzip
import json

import numpy as np
import pytest

from wayside.detectors.artifact import Artifact
from wayside.detectors.ingress import IngressLimits
from wayside.eventing.http_binding import decode, encode_binary, encode_structured
from wayside.eventing.identity import stable_id
from wayside.eventing.verdict import read_row_verdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, RESPONSE, VERDICTS

from .conftest import TIME, normal_rows, request_event, serve_rows

BINARY = [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"s"), (b"ce-type", REQUEST.encode())]
TIMED = [*BINARY, (b"ce-time", TIME.encode())]


async def test_a_request_is_answered_with_its_verdict(knn: Artifact) -> None:
    rows = np.vstack([np.zeros((1, 4)), np.full((1, 4), 50.0)])
    request = request_event(rows, "r-1")
    async with serve_rows(knn) as served:
        response = await served.post_event(request)
        assert served.metrics.registry.get_sample_value("wayside_detector_rows_flagged_total") == 1
        assert served.metrics.registry.get_sample_value("wayside_detector_rows_total") == 2
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
    ("body", "flagged"),
    [
        (gzip.compress(b'{"instances":[[1,2,3,4]]}', mtime=0), None),
        (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}', None),
        (b'{"instances":[[1,2,3,null]]}', 1),
        (b'{"instances":[[1,2,3,NaN]]}', 1),
        (b'{"instances":[[1,2,3,1e400]]}', 1),
    ],
)
async def test_other_encodings_are_scored_and_a_missing_value_is_flagged(
    knn: Artifact, body: bytes, flagged: int | None
) -> None:
    async with serve_rows(knn) as served:
        response = await served.post(body, TIMED)
        assert response.status == 200
        assert flagged in (None, *json.loads(response.body)["data"]["is_outlier"])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        BINARY,
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


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e400"])
async def test_values_that_are_not_finite_are_flagged_without_a_score(knn: Artifact, value: bytes) -> None:
    async with serve_rows(knn) as served:
        response = await served.post(b'{"instances":[[0,0,0,0],[0,0,0,' + value + b"]]}", TIMED)
    columns = read_row_verdict(decode(response.headers, response.body))
    assert list(columns.decisions) == [False, True]
    assert (columns.scores[1], columns.p_values[1]) == (None, 1 / 1201)


async def test_a_body_over_the_limit_is_a_413(knn: Artifact) -> None:
    async with serve_rows(knn, IngressLimits(body_bytes=1000)) as served:
        response = await served.post_event(request_event(normal_rows(100, 1)))
        assert (response.status, served.count("malformed")) == (413, 1)
        assert (await served.post_event(request_event(normal_rows(1, 1)))).status == 200


async def test_more_requests_than_the_limit_are_a_503_that_says_when(knn: Artifact) -> None:
    async with serve_rows(knn, IngressLimits(in_flight=0)) as served:
        response = await served.post_event(request_event(normal_rows(1, 1)))
        assert (response.status, response.header(b"retry-after"), served.count("overloaded")) == (503, b"1", 1)


async def test_other_methods_are_refused(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        response = await served.client.send(b"GET", served.url, [], timeout_s=5)
        assert response.status == 405
        headers, body = encode_binary(request_event([[1, 2, 3, 4]]))
        assert (await served.post(body, headers)).status == 200
