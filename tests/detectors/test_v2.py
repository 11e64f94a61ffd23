"""V2 over real HTTP: what MLServer's clients ask, in JSON and in bytes, and what is no request of theirs."""

import asyncio
import gzip
import json
import shutil
import struct
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import pytest_asyncio

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.kinds.protocol import Matrix, RowDetector, Vector
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.catalogue import Loaded
from wayside.detectors.serving.row_service import RowService
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import decode, encode_binary
from wayside.eventing.payloads.arrays import decode as decode_payload
from wayside.eventing.payloads.messages import message_of_http
from wayside.eventing.verdict import read_row_verdict

from .conftest import request_event, wait_until
from .detect_application import ROWS, Detecting, detecting, write_artifact
from .loop_turns import loop_turns

pytestmark = pytest.mark.asyncio(loop_scope="module")
INPUT = {"name": "rows", "shape": [2, 4], "datatype": "FP64", "data": ROWS}


def document_of(response: Response) -> Any:
    return json.loads(response.body)


def outputs_of(response: Response) -> dict[str, Any]:
    assert response.status == 200, response.body
    return {output["name"]: output for output in document_of(response)["outputs"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Detecting]:
    folder = tmp_path_factory.mktemp("v2") / "rows"
    write_artifact(folder, name="rows")
    async with detecting("--artifact", folder, "--body-limit", "1Mi") as served:
        yield served


async def test_the_server_and_its_models_describe_themselves(served: Detecting) -> None:
    (detector,) = served.catalogue
    version = detector.card.version
    assert document_of(await served.get("/v2"))["extensions"] == ["binary_tensor_data", "model_repository"]
    assert document_of(await served.get("/v2/health/live")) == {"live": True}
    assert document_of(await served.get("/v2/health/ready")) == {"ready": True}
    for path in ("/v2/models/rows", f"/v2/models/rows/versions/{version}"):
        model = document_of(await served.get(path))
        assert (model["name"], model["versions"], model["platform"]) == ("rows", [version], "wayside_mahalanobis")
        assert model["inputs"] == [{"name": "rows", "datatype": "FP64", "shape": [-1, 4]}]
        assert document_of(await served.get(f"{path}/ready")) == {"name": "rows", "ready": True}


async def test_rows_are_judged_as_an_events_rows_are(served: Detecting) -> None:
    response = await served.infer("rows", id="7", inputs=[INPUT])
    reply = await served.post_event(request_event(ROWS))
    outputs, verdict = outputs_of(response), read_row_verdict(decode(reply.headers, reply.body))
    assert list(outputs) == ["is_outlier", "instance_score", "p_value", "threshold"]
    assert outputs["is_outlier"] == {"name": "is_outlier", "datatype": "INT64", "shape": [2], "data": [0, 1]}
    assert outputs["instance_score"]["data"] == verdict.scores
    assert outputs["p_value"]["data"] == verdict.p_values
    assert outputs["threshold"]["data"] == [verdict.threshold] * 2
    document = document_of(response)
    assert (document["id"], document["model_name"]) == ("7", "rows")
    assert document["parameters"]["artifact_digest"].startswith(document["model_version"])
    assert response.header(b"x-seldon-alibi-type") == b"outlier"
    assert response.header(b"x-seldon-alibi-method") == b"mahalanobis"


def binary_request(rows: list[list[float]], **members: Any) -> tuple[bytes, int]:
    tail = struct.pack(f"<{4 * len(rows)}d", *(value for row in rows for value in row))
    tensor = {
        "name": "rows", "shape": [len(rows), 4], "datatype": "FP64", "parameters": {"binary_data_size": len(tail)},
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor], **members}).encode()
    return head + tail, len(head)


@pytest.mark.parametrize("told", [True, False], ids=["length told", "length lost"])
async def test_tensors_are_bytes_where_they_are_asked_for(served: Detecting, told: bool) -> None:
    body, length = binary_request(ROWS, parameters={"binary_data_output": True})
    headers = [(b"inference-header-content-length", b"%d" % length)] if told else []
    response = await served.post("/v2/models/rows/infer", body, *headers)
    plain = outputs_of(await served.infer("rows", inputs=[INPUT]))
    assert response.status == 200
    assert response.header(b"content-type") == b"application/octet-stream"
    told_headers = {name.decode(): value.decode() for name, value in response.headers}
    payload = decode_payload(message_of_http(response.body, told_headers))
    columns = {column.name: column for column in payload.columns[:3]}
    assert columns["is_outlier"].row_values() == plain["is_outlier"]["data"]
    assert columns["instance_score"].row_values() == plain["instance_score"]["data"]


async def test_single_outputs_are_chosen_and_are_bytes_or_not(served: Detecting) -> None:
    wanted = [{"name": "p_value"}, {"name": "is_outlier", "parameters": {"binary_data": True}}]
    response = await served.infer("rows", inputs=[INPUT], outputs=wanted)
    length = int(response.header(b"inference-header-content-length") or 0)
    head = json.loads(response.body[:length])
    assert [output["name"] for output in head["outputs"]] == ["p_value", "is_outlier"]
    assert head["outputs"][1]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(response.body[length:], "<i8").tolist() == [0, 1]


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "empty"),
    "null": (b"null", 400, "no JSON object"),
    "no JSON": (b"{", 400, ""),
    "no UTF-8": (b"\xff", 400, ""),
    "no inputs": (b'{"inputs":[]}', 400, "no tensor"),
    "V1": (b'{"instances":[[1,2,3,4]]}', 400, "inputs"),
    "width": (b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[1,2,3]}]}', 400, "3 features"),
    "ragged": (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[[1,2],[3]]}]}', 400, "'x'"),
    "text": (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"BYTES","data":["a","b","c","d"]}]}', 400, "numeric"),
    "NaN": (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[1,2,null,4]}]}', 400, "row 0, column 3"),
    "infinite": (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[1,2,1e400,4]}]}', 400, ""),
    "no rows": (b'{"inputs":[{"name":"x","shape":[0,4],"datatype":"FP64","data":[]}]}', 400, "no rows"),
    "shared memory": (
        b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","parameters":{"shared_memory_region":"m"}}]}',
        400,
        "shared memory",
    ),
    "unknown output": (
        json.dumps({"inputs": [INPUT], "outputs": [{"name": "label"}]}).encode(),
        400,
        "is_outlier, instance_score",
    ),
    "output twice": (
        json.dumps({"inputs": [INPUT], "outputs": [{"name": "p_value"}, {"name": "p_value"}]}).encode(),
        400,
        "twice",
    ),
    "outputs a block of numbers": (
        json.dumps({"inputs": [INPUT], "outputs": [[1.5] * 33] * 9}).encode(),
        400,
        "'outputs'",
    ),
    "parameter": (json.dumps({"inputs": [INPUT], "parameters": {"binary_data_output": 1}}).encode(), 400, "true nor"),
    "parameters": (json.dumps({"inputs": [INPUT], "parameters": [1]}).encode(), 400, "'parameters'"),
    "id": (json.dumps({"inputs": [INPUT], "id": 7}).encode(), 400, "'id'"),
    "too large": (b" " * 1_200_000, 413, "over 1048576 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_request_is_refused_with_its_reason(served: Detecting, name: str) -> None:
    body, status, reason = REFUSED[name]
    response = await served.post("/v2/models/rows/infer", body)
    after = await served.infer("rows", inputs=[INPUT])
    assert (response.status, list(document_of(response))) == (status, ["error"])
    assert reason in document_of(response)["error"]
    assert after.status == 200


async def test_a_compressed_request_is_read_and_its_length_counts_inflated_bytes(served: Detecting) -> None:
    body, length = binary_request(ROWS)
    headers = [(b"inference-header-content-length", b"%d" % length), (b"content-encoding", b"gzip")]
    response = await served.post("/v2/models/rows/infer", gzip.compress(body, mtime=0), *headers)
    assert outputs_of(response)["is_outlier"]["data"] == [0, 1]


async def test_a_request_of_many_rows_is_read_off_the_loop(served: Detecting) -> None:
    rows = np.random.default_rng(5).normal(size=(5000, 4))
    tensor = {"name": "x", "shape": [5000, 4], "datatype": "FP64", "data": rows.ravel().tolist()}
    response = await served.infer("rows", inputs=[tensor])
    assert len(outputs_of(response)["p_value"]["data"]) == 5000


@pytest.mark.parametrize(
    "path", ["/v2/models/none", "/v2/models/none/ready", "/v2/models/rows/versions/1", "/v2/nothing", "/detectors/none"]
)
async def test_what_is_not_served_is_404_and_names_what_is(served: Detecting, path: str) -> None:
    response = await served.get(path)
    assert (response.status, list(document_of(response))) == (404, ["error"])


async def test_scores_that_are_not_finite_are_null_and_flagged(served: Detecting) -> None:
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": [[0.0] * 4, [1e308, -1e308, 1e308, 1e308]]}
    outputs = outputs_of(await served.infer("rows", inputs=[tensor]))
    packed = await served.infer("rows", inputs=[tensor], parameters={"binary_data_output": True})
    assert outputs["is_outlier"]["data"] == [0, 1]
    assert outputs["instance_score"]["data"][1] is None
    headers = {name.decode(): value.decode() for name, value in packed.headers}
    payload = decode_payload(message_of_http(packed.body, headers))
    scores = next(column for column in payload.columns if column.name == "instance_score")
    assert np.isnan(scores.row_values()[1])


FEATURES = [
    {"parameters": {"return_feature_score": True}},
    {"outputs": [{"name": "feature_score"}]},
]


@pytest.mark.parametrize("asked", FEATURES, ids=["parameter", "output"])
async def test_feature_scores_are_given_where_they_are_asked_for(served: Detecting, asked: dict[str, Any]) -> None:
    scores = outputs_of(await served.infer("rows", inputs=[INPUT], **asked))["feature_score"]
    assert (scores["shape"], len(scores["data"])) == ([2, 4], 8)


@pytest.mark.parametrize("asked", FEATURES, ids=["parameter", "output"])
async def test_a_kind_without_feature_scores_answers_without_them(asked: dict[str, Any], tmp_path: Path) -> None:
    write_artifact(tmp_path / "lof", kind="lof")
    async with detecting("--artifact", tmp_path / "lof") as served:
        outputs = outputs_of(await served.infer("outlier", inputs=[INPUT], **asked))
    assert list(outputs) == ([] if "outputs" in asked else ["is_outlier", "instance_score", "p_value", "threshold"])


async def test_every_request_is_counted_once(tmp_path: Path) -> None:
    write_artifact(tmp_path / "rows", name="rows")
    async with detecting("--artifact", tmp_path / "rows") as served:
        for inputs in ([INPUT], [], [{**INPUT, "shape": [1, 8]}]):
            await served.infer("rows", inputs=inputs)
        await served.infer("none", inputs=[INPUT])
        await served.post("/v2/models/rows/versions/1/infer", b"{}")
        counts = {
            outcome: served.sample("v2_requests_total", detector="rows", outcome=outcome)
            for outcome in ("scored", "malformed", "overloaded", "gone", "failed")
        }
        assert counts == {"scored": 1, "malformed": 2, "overloaded": 0, "gone": 0, "failed": 0}
        assert served.sample("unknown_total") == 2
        assert served.sample("events_total", detector="rows", outcome="scored") == 0


class Slow(RowDetector):
    """Notes what it scores, and waits for its gate."""

    kind: ClassVar[str] = "slow"
    summary: ClassVar[str] = "for tests"
    features = 4

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = threading.Event()

    def score(self, rows: Matrix) -> Vector:
        self.calls.append(len(rows))
        assert self.gate.wait(10)
        return rows[:, 0]


async def test_the_work_of_clients_that_are_gone_is_dropped(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "rows", name="rows")
    slow, judge = Slow(), RowJudge.of(artifact)
    async with detecting("--artifact", tmp_path / "rows") as served:
        (detector,) = served.catalogue
        service = RowService(replace(judge, detector=slow), artifact.identity(), detector.metrics, BatchLimits())
        await detector.replace(Loaded(detector.card, service))
        first = asyncio.create_task(served.infer("rows", inputs=[INPUT]))
        await wait_until(lambda: slow.calls == [2])
        body = json.dumps({"inputs": [INPUT]}).encode()
        head = b"POST /v2/models/rows/infer HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        streams = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(20)]
        for _, writer in streams:
            writer.write(head + body)
        await asyncio.gather(*(writer.drain() for _, writer in streams))
        for _, writer in streams:
            writer.close()
        await wait_until(lambda: served.sample("v2_requests_total", detector="rows", outcome="gone") == 20)
        slow.gate.set()
        assert ((await first).status, (await served.infer("rows", inputs=[INPUT])).status) == (200, 200)
    assert slow.calls == [2, 2]


async def test_a_version_is_answered_by_itself_or_not_at_all(tmp_path: Path) -> None:
    """Back and forth under requests for one of two versions: whoever is answered is answered by it."""
    places = [tmp_path / "one", tmp_path / "two"]
    first, _ = [write_artifact(place, seed=seed, name="rows") for seed, place in enumerate(places, 1)]
    version, seen = first.digest[:12], set[int]()
    shutil.copytree(places[0], tmp_path / "a")
    body = json.dumps({"inputs": [{"name": "x", "shape": [6000, 4], "datatype": "FP64", "data": [0.5] * 24_000}]})

    async def ask(served: Detecting, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            response = await served.post(f"/v2/models/rows/versions/{version}/infer", body.encode())
            seen.add(response.status)
            assert response.status == 404 or document_of(response)["model_version"] == version

    async with detecting("--artifact", tmp_path / "a") as served:
        stopped = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for _ in range(4):
                clients.create_task(ask(served, stopped))
            for turn in range(6):
                shutil.rmtree(tmp_path / "a")
                shutil.copytree(places[(turn + 1) % 2], tmp_path / "a")
                assert (await served.post("/v2/repository/models/rows/load")).status == 200
            stopped.set()
    assert seen == {200, 404}


async def test_a_kind_that_remembers_is_asked_by_events_too(online: Artifact, tmp_path: Path) -> None:
    save(online, tmp_path / "online")
    async with detecting("--artifact", tmp_path / "online", "--data", tmp_path) as served:
        response = await served.infer("outlier", inputs=[INPUT])
    error = document_of(response)["error"]
    assert (response.status, "mahalanobis-online judges events by what came before them" in error) == (400, True)


async def test_a_window_detector_is_a_model_that_is_asked_by_events(ks_folder: Path, tmp_path: Path) -> None:
    flags = ("--artifact", ks_folder, "--data", tmp_path, "--sink-url", "http://127.0.0.1:9/")
    async with detecting(*flags) as served:
        assert document_of(await served.get("/v2/models/drift"))["outputs"] == []
        response = await served.infer("drift", inputs=[INPUT])
        refused = await served.post("/v2/repository/models/drift/load")
    assert (response.status, "post events" in document_of(response)["error"]) == (400, True)
    assert (refused.status, "keeps state" in document_of(refused)["error"]) == (409, True)


COLUMNS, MANY_ROWS = 64, 2000
MOST_S = 0.06  # that the event loop may be kept from others
INFLATES = gzip.compress(b'{"x":[%b"a"],"inputs":[],"instances":[[0]]}' % (b'"a",' * 2_500_000))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wide(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Detecting]:
    """Serves rows of many columns, with the limits of every day but for the rows."""
    folder = tmp_path_factory.mktemp("v2") / "wide"
    write_artifact(folder, features=COLUMNS, name="rows")
    async with detecting("--artifact", folder, "--max-rows", MANY_ROWS) as served:
        yield served


def many_rows(count: int) -> list[list[float]]:
    return np.random.default_rng(3).normal(size=(count, COLUMNS)).tolist()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", [(b"content-encoding", b"gzip")]),
        ("/", [(b"ce-contentencoding", b"gzip")]),
        ("/", []),
        ("/v2/models/rows/infer", [(b"content-encoding", b"gzip")]),
    ],
    ids=["event of HTTP's gzip", "event of gzip", "event of gzip untold", "v2"],
)
async def test_what_inflates_is_read_off_the_event_loop(wide: Detecting, path: str, headers: list[Any]) -> None:
    event = encode_binary(request_event([]))[0] if path == "/" else []
    with loop_turns() as turns:
        response = await wide.post(path, INFLATES, *event, *headers)
    assert (response.status, turns.longest_s < MOST_S) == (400, True)


async def test_large_answers_are_written_off_the_event_loop(wide: Detecting) -> None:
    rows = many_rows(MANY_ROWS)
    tensor = {"name": "x", "shape": [MANY_ROWS, COLUMNS], "datatype": "FP64", "data": rows}
    body = json.dumps({"inputs": [tensor], "parameters": {"return_feature_score": True}}).encode()
    event_headers, event_body = encode_binary(request_event(rows))
    asked = (b"alibi-detect-return-feature-score", b"true")
    for path, sent, headers in (("/v2/models/rows/infer", body, []), ("/", event_body, [*event_headers, asked])):
        with loop_turns() as turns:
            response = await wide.post(path, sent, *headers)
        assert (response.status, len(response.body) > 1 << 20, turns.longest_s < MOST_S) == (200, True, True)


async def test_an_answer_in_pieces_is_the_answer_at_once(wide: Detecting) -> None:
    rows, features = many_rows(MANY_ROWS), {"parameters": {"return_feature_score": True}}
    parts = [rows, rows[:3]]
    whole, few = [
        outputs_of(
            await wide.infer("rows", inputs=[{**INPUT, "shape": [len(part), COLUMNS], "data": part}], **features)
        )
        for part in parts
    ]
    for name, output in whole.items():
        width = COLUMNS if name == "feature_score" else 1
        assert output["data"][: 3 * width] == few[name]["data"]
        assert len(output["data"]) == MANY_ROWS * width


async def test_the_rows_of_one_request_are_bounded(wide: Detecting) -> None:
    rows = many_rows(1) * (MANY_ROWS + 1)
    by_event = await wide.post_event(request_event(rows))
    by_v2 = await wide.infer("rows", inputs=[{**INPUT, "shape": [len(rows), COLUMNS], "data": rows}])
    assert [by_event.status, by_v2.status] == [400, 400]
    assert all(f"the limit is {MANY_ROWS}".encode() in response.body for response in (by_event, by_v2))


@pytest.mark.parametrize("path", ["/", "/v2/models/rows/infer"])
async def test_what_a_body_inflates_to_is_bounded_as_a_body_is(served: Detecting, path: str) -> None:
    event = encode_binary(request_event([]))[0] if path == "/" else []
    body = gzip.compress(b'{"instances":[%b]}' % bytes(1 << 20))
    response = await served.post(path, body, *event, (b"content-encoding", b"gzip"))
    assert (response.status, b"inflates beyond the limit" in response.body) == (400, True)
