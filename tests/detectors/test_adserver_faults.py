"""The faults of Seldon's alibi-detect-server in outlier detection, one by one: none of them here.

Source: the list in the contract of detector services ("Its faults", "Their faults, seen").
"""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.protocol import Matrix, RowDetector, Vector
from wayside.detectors.scoring.calibration import Calibration
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.row_service import RowService
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import decode, encode_binary
from wayside.eventing.verdict import DetectorIdentity, RowVerdict, read_row_verdict
from wayside.eventing.vocabulary import OUTLIER

from .conftest import FEATURES, drift_in, normal_rows, request_event, serve_answering, serve_rows, wait_until
from .test_cli import free_ports

GOOD = request_event([[1, 2, 3, 4]], "good")
HEADERS = encode_binary(GOOD)[0]
SERIES_LIMIT = 120  # of a service with one detector


async def answer_to(artifact: Artifact, body: bytes) -> Response:
    """The answer to a body, by a service that judges a good event after it as it did before."""
    async with serve_rows(artifact) as served:
        before = await served.post_event(GOOD)
        response = await served.post(body, HEADERS)
        after = await served.post_event(GOOD)
    assert (before.status, before.body) == (after.status, after.body) == (200, before.body)
    return response


async def test_a_reply_has_an_id_of_its_own(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        replies = [await served.post_event(event) for event in (GOOD, GOOD, request_event([[1, 2, 3, 4]], "other"))]
    ids = [decode(reply.headers, reply.body).id for reply in replies]
    assert ids[0] == ids[1] != ids[2]
    assert "good" not in ids


async def test_a_reply_is_a_cloudevent_that_knative_takes(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        reply = await served.post_event(GOOD)
    verdict = decode(reply.headers, reply.body)
    assert (reply.header(b"ce-specversion"), verdict.type, verdict.extensions["subjectid"]) == (b"1.0", OUTLIER, "good")
    assert reply.header(b"content-type") == b"application/json"


async def test_all_inputs_of_v2_are_read_in_the_detectors_order() -> None:
    rows = normal_rows(2400, 5, 2) * [1.0, 100.0]
    artifact = fit_artifact("mahalanobis", Table.of(rows, ["small", "large"]), FitSettings()).artifact
    inputs = [
        {"name": "large", "shape": [2], "datatype": "FP64", "data": [100.0, 1.0]},
        {"name": "small", "shape": [2], "datatype": "FP64", "data": [1.0, 100.0]},
    ]
    async with serve_rows(artifact) as served:
        reply = await served.post(json.dumps({"inputs": inputs}).encode(), HEADERS)
    assert list(read_row_verdict(decode(reply.headers, reply.body)).decisions) == [False, True]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"instances":[[1,2,3]]}', "3 features, the detector was fitted on 4"),
        (b'{"instances":[[1,2,3,4],[1]]}', "ragged"),
        (b'{"instances":[]}', "no rows"),
        (b'{"inputs":[]}', "no rows"),
        (b"null", "null"),
        (b'{"instances":null}', "null"),
        (b'{"instances":[["a","b","c","d"]]}', "not numeric"),
    ],
    ids=["wrong width", "ragged", "no instances", "no V2 inputs", "JSON null", "null instances", "texts"],
)
async def test_bad_input_is_a_400_with_its_reason_and_never_a_500(knn: Artifact, body: bytes, reason: str) -> None:
    response = await answer_to(knn, body)
    assert (response.status, reason in response.body.decode()) == (400, True)


@pytest.mark.parametrize("value", [b"NaN", b"1e400", b"-Infinity", b"null"])
async def test_a_value_that_is_not_finite_is_never_no_outlier(knn: Artifact, value: bytes) -> None:
    response = await answer_to(knn, b'{"instances":[[0,0,0,0],[0,0,%b,0]]}' % value)
    data = json.loads(response.body)["data"]
    assert (data["is_outlier"], data["instance_score"][1]) == ([0, 1], None)
    assert "column 3" in data["error"][1]


async def test_a_score_that_is_not_finite_is_never_no_outlier(knn: Artifact) -> None:
    response = await answer_to(knn, b'{"instances":[[0,0,0,0],[0,0,1e300,0]]}')
    assert json.loads(response.body)["data"]["is_outlier"] == [0, 1]


@pytest.mark.parametrize("missing", [b"ce-specversion", b"ce-id", b"ce-source", b"ce-type"])
async def test_missing_ce_headers_are_a_400(knn: Artifact, missing: bytes) -> None:
    async with serve_rows(knn) as served:
        response = await served.post(GOOD.data, [header for header in HEADERS if header[0] != missing])
    assert (response.status, missing.decode().removeprefix("ce-") in response.body.decode()) == (400, True)


@pytest.mark.parametrize("declared", [True, False])
async def test_gzip_is_read(knn: Artifact, declared: bool) -> None:
    coding = [(b"content-encoding", b"gzip")] if declared else []
    async with serve_rows(knn) as served:
        response = await served.post(gzip.compress(GOOD.data), [*HEADERS, *coding])
        assert (response.status, response.body) == (200, (await served.post_event(GOOD)).body)


async def test_a_bad_first_event_poisons_nothing(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        first = await served.post_event(request_event([[1, 2, 3]]))
        assert [first.status, (await served.post_event(GOOD)).status] == [400, 200]


async def test_a_bad_first_event_poisons_no_drift_window(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift, serve_answering(drift.service) as served:
        statuses = [(await served.post_event(request_event(rows, str(n)))).status for n, rows in enumerate(FIRST_WIDE)]
        await drift.take(request_event(normal_rows(1, 3), "later", "2026-01-02T03:05:00Z"))
        await wait_until(lambda: drift.view()[2] == 1)
    assert statuses == [400, 202, 400, 202]


FIRST_WIDE = [[[1.0] * 5], normal_rows(25, 1), [[1.0] * 3], normal_rows(25, 2)]


async def test_series_do_not_grow_with_rows(knn: Artifact) -> None:
    async with serve_rows(knn) as served:
        await served.post_event(GOOD)
        before = series(served.metrics)
        await served.post_event(request_event(normal_rows(5000, 1)))
        assert series(served.metrics) == before < SERIES_LIMIT


def series(metrics: DetectorMetrics) -> int:
    return sum(len(family.samples) for family in metrics.registry.collect())


async def test_after_an_event_of_54_000_rows_small_events_are_as_fast_as_before(mahalanobis: Artifact) -> None:
    async with serve_rows(mahalanobis) as served:

        async def fastest() -> float:
            loop, times = asyncio.get_running_loop(), list[float]()
            for _ in range(30):
                start = loop.time()
                assert (await served.post_event(GOOD)).status == 200
                times.append(loop.time() - start)
            return min(times)

        before = await fastest()
        large = await served.post_event(request_event(normal_rows(54_000, 1)))
        assert len(json.loads(large.body)["data"]["is_outlier"]) == 54_000
        assert await fastest() < 10 * before + 0.01  # adserver: 1.36 s for each


class Gated(RowDetector):
    """Notes what it scores, and waits for its gate."""

    kind: ClassVar[str] = "gated"
    summary: ClassVar[str] = "for tests"
    features = FEATURES

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = threading.Event()

    def score(self, rows: Matrix) -> Vector:
        self.calls.append(len(rows))
        assert self.gate.wait(10)
        return rows[:, 0]


def gated_service(detector: Gated) -> RowService:
    schema, ones = Schema.of_width(FEATURES), np.ones(FEATURES)
    calibration = Calibration(np.arange(1000.0), 0.01)
    preprocessing = Preprocessing(schema, 0 * ones, 0 * ones, ones)
    judge = RowJudge(schema, preprocessing, detector, calibration, calibration.threshold)
    return RowService(judge, DetectorIdentity("gated", "gated", "ab" * 32, 0.01), DetectorMetrics(), BatchLimits())


async def test_requests_of_clients_that_are_gone_are_not_worked_off() -> None:
    detector = Gated()
    service = gated_service(detector)
    await service.start()
    async with serve_answering(service) as served:
        slow = asyncio.create_task(served.post_event(GOOD))
        await wait_until(lambda: detector.calls == [1])
        lines = b"".join(b"%b: %b\r\n" % header for header in HEADERS)
        request = b"POST / HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (lines, len(GOOD.data), GOOD.data)
        streams = [await asyncio.open_connection("127.0.0.1", served.server.port) for _ in range(100)]
        for _, writer in streams:
            writer.write(request)
        await asyncio.gather(*(writer.drain() for _, writer in streams))
        for _, writer in streams:
            writer.close()
        await wait_until(lambda: served.count("gone") == 100)
        detector.gate.set()
        assert [(await slow).status, (await served.post_event(GOOD)).status] == [200, 200]
    await service.stop()
    assert detector.calls == [1, 1]


@dataclass(frozen=True, slots=True)
class Service:
    """`python -m wayside.detectors` as its own process group, and where it listens."""

    process: "subprocess.Popen[bytes]"
    port: int
    admin_port: int

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", self.admin_port, path)

    def post(self, times: int = 1) -> int:
        """Post so often; the last status."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        for _ in range(times):
            connection.request("POST", "/", GOOD.data, headers)
            response = connection.getresponse()
            response.read()
        connection.close()
        return response.status

    def _ask(self, method: str, port: int, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def resident_kib(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 10


@pytest.fixture(scope="module")
def service(mahalanobis: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served") / "outlier"
    save(mahalanobis, folder)
    port, admin_port = free_ports(2)
    flags = ["--artifact", str(folder), "--port", str(port), "--admin-port", str(admin_port)]
    command = [sys.executable, "-m", "wayside.detectors", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        found = Service(process, port, admin_port)
        try:
            assert process.stderr is not None
            while b"admin on port" not in process.stderr.readline():
                assert process.poll() is None, "the service ended before it listened"
            yield found
        finally:
            if process.poll() is None:
                process.kill()


def test_there_are_health_routes_and_metrics(service: Service) -> None:
    assert [service.get(path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert b"wayside_detector_events_total" in service.get("/metrics")[1]


def test_memory_does_not_grow_with_calls(service: Service) -> None:
    assert service.post(200) == 200
    before_kib = service.resident_kib()
    assert service.post(600) == 200
    assert service.resident_kib() - before_kib < 4096  # adserver: 21 000


def test_sigterm_leaves_no_process(service: Service) -> None:
    assert service.post() == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(service.process.pid, 0)


def test_a_wide_verdict_is_written_in_pieces() -> None:
    """One call for all of it would keep every other thread, and with it the event loop, from running."""
    features = normal_rows(2000, 1, 150).tolist()
    flat = [0.5] * len(features)
    verdict = RowVerdict(OUTLIER, flat, flat, [False] * len(features), 1.0, feature_scores=features)
    writing = threading.Thread(target=verdict.event, args=(GOOD, DetectorIdentity("d", "k", "ab" * 32, 0.01)))
    start = last = time.perf_counter()
    longest_s = 0.0
    writing.start()
    while writing.is_alive():
        writing.join(0.001)
        now = time.perf_counter()
        longest_s, last = max(longest_s, now - last), now
    assert longest_s < (last - start) / 2
