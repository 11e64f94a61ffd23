"""Hot reload: what takes over, what is refused, and that every event is judged by one artifact alone."""

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.protocol import Matrix, RowDetector, State, Vector
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.catalogue import Card
from wayside.detectors.serving.metrics import ServiceMetrics
from wayside.detectors.serving.opening import Opening
from wayside.detectors.serving.reload import (
    ArtifactSource,
    Reloader,
    ReloadMetrics,
    ReloadRefused,
    check_replacement,
    warm,
)
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import decode, encode_binary
from wayside.eventing.vocabulary import ARTIFACT_DIGEST

from .conftest import FEATURES, normal_rows, request_event, wait_until
from .detect_application import ROWS, Detecting, detecting, write_artifact

LOAD = "/v2/repository/models/outlier/load"
UNLOAD = "/v2/repository/models/outlier/unload"
JSON = (b"content-type", b"application/json")


def document_of(response: Response) -> Any:
    return json.loads(response.body)


def digest_of(response: Response) -> str:
    assert response.status == 200, response.body
    return decode(response.headers, response.body).extensions[ARTIFACT_DIGEST]


async def load(served: Detecting) -> tuple[int, Any]:
    response = await served.post(LOAD)
    return response.status, document_of(response)


async def test_the_next_artifact_takes_over_when_it_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = write_artifact(tmp_path / "a", seed=1)
    with caplog.at_level(logging.INFO, "wayside.detectors.reload"):
        async with detecting("--artifact", tmp_path / "a") as served:
            assert await load(served) == (200, {"name": "outlier", "before": before.digest, "digest": before.digest})
            after = write_artifact(tmp_path / "a", seed=2, kind="knn")
            assert digest_of(await served.post_event(request_event(ROWS))) == before.digest
            assert await load(served) == (200, {"name": "outlier", "before": before.digest, "digest": after.digest})
            assert digest_of(await served.post_event(request_event(ROWS))) == after.digest
            (model,) = document_of(await served.get("/detectors"))
            counts = [
                served.sample("reloads_total", detector="outlier", outcome=it) for it in ("replaced", "unchanged")
            ]
    assert (model["kind"], model["digest"], counts) == ("knn", after.digest, [1, 1])
    assert f"artifact {after.digest[:12]} took the place of {before.digest[:12]}" in caplog.text


def others() -> dict[str, tuple[str, Any]]:
    """What may not take over from a detector of four columns, and why."""
    named = Table(normal_rows(2400, 3), ("a", "b", "c", "d"), {})
    return {
        "width": ("5 columns, the one in service 4", Table.of(normal_rows(2400, 3, 5))),
        "names": ("column 1 is number 'a', in service it is number None", named),
    }


@pytest.mark.parametrize("case", others())
async def test_an_artifact_that_takes_other_rows_is_refused(case: str, tmp_path: Path) -> None:
    reason, table = others()[case]
    before = write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        save(fit_artifact("knn", table, FitSettings()).artifact, tmp_path / "a")
        status, document = await load(served)
        assert (status, reason in document["error"]) == (409, True)
        assert digest_of(await served.post_event(request_event(ROWS))) == before.digest
        assert served.sample("reload_failed", detector="outlier") == 1
        assert served.sample("reloads_total", detector="outlier", outcome="refused") == 1
        write_artifact(tmp_path / "a", seed=2)
        assert (await load(served))[0] == 200
        assert served.sample("reload_failed", detector="outlier") == 0


async def test_a_window_detector_does_not_take_over_from_a_row_detector(tmp_path: Path, ks: Artifact) -> None:
    write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        save(ks, tmp_path / "a")
        status, document = await load(served)
    assert (status, "ks judges windows" in document["error"]) == (409, True)


def cut(folder: Path) -> None:
    path = folder / "arrays.npz"
    path.write_bytes(path.read_bytes()[:-200])


def change(folder: Path, **members: object) -> None:
    path = folder / "detector.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (cut, "arrays.npz"),
        (shutil.rmtree, "no detector artifact"),
        (lambda folder: change(folder, digest="0" * 64), "digest does not match"),
        (lambda folder: change(folder, version=9), "use a newer Wayside"),
        (lambda folder: (folder / "detector.json").write_text("{"), "damaged"),
    ],
    ids=["cut", "gone", "digest", "newer", "no JSON"],
)
async def test_an_artifact_that_is_not_whole_is_refused_and_the_one_before_serves(
    harm: Any, reason: str, tmp_path: Path
) -> None:
    before = write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        write_artifact(tmp_path / "a", seed=2)
        harm(tmp_path / "a")
        status, document = await load(served)
        assert (status, reason in document["error"]) == (409, True), document
        assert digest_of(await served.post_event(request_event(ROWS))) == before.digest


async def test_no_event_is_judged_by_two_artifacts_and_none_is_lost(tmp_path: Path) -> None:
    """Under traffic, back and forth: every verdict is, byte for byte, what the artifact that it names gives alone."""
    places = {seed: tmp_path / str(seed) for seed in (1, 2)}
    artifacts = {seed: write_artifact(place, seed=seed) for seed, place in places.items()}
    events = [request_event(normal_rows(5, n), str(n)) for n in range(10)]
    alone: dict[tuple[str, str], bytes] = {}
    for artifact in artifacts.values():
        save(artifact, tmp_path / "a")
        async with detecting("--artifact", tmp_path / "a") as served:
            for event in events:
                alone[artifact.digest, event.id] = (await served.post_event(event)).body
    seen: set[str] = set()

    async def send(served: Detecting, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            for event in events:
                response = await served.post_event(event)
                digest = digest_of(response)
                seen.add(digest)
                assert response.body == alone[digest, event.id]

    async with detecting("--artifact", tmp_path / "a") as served:
        stopped = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for _ in range(4):
                clients.create_task(send(served, stopped))
            for turn in range(4):
                save(artifacts[1 + turn % 2], tmp_path / "a")
                assert (await load(served))[0] == 200
            stopped.set()
    assert seen == {artifact.digest for artifact in artifacts.values()}


async def test_a_detector_that_keeps_state_does_not_take_over_from_one_that_keeps_none(
    tmp_path: Path, online: Artifact
) -> None:
    before = write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        save(online, tmp_path / "a")
        status, document = await load(served)
        assert (status, "mahalanobis-online keeps state on disk" in document["error"]) == (409, True)
        assert digest_of(await served.post_event(request_event(ROWS))) == before.digest
        (detector,) = served.catalogue
        assert detector.is_replaceable
        with pytest.raises(ConfigurationError, match="keeps state on disk"):
            Opening(served.settings, ServiceMetrics()).restore_rows(online, "outlier")


async def test_what_is_unloaded_by_hand_stays_so_though_a_reload_is_due(tmp_path: Path) -> None:
    """The clock finds a new artifact; before it is loaded, somebody unloads the detector."""
    write_artifact(tmp_path / "a")
    asked, go, opened = threading.Event(), threading.Event(), list[str]()
    async with detecting("--artifact", tmp_path / "a") as served:
        source = Opening(served.settings, ServiceMetrics()).reloads()

        def digest(uri: str) -> str:
            asked.set()
            assert go.wait(10)
            return source.digest(uri)

        def open_noted(uri: str) -> Artifact:
            opened.append(uri)
            return source.open(uri)

        held = ArtifactSource(open_noted, digest, source.restore)
        reloader = Reloader(served.catalogue, held, ReloadMetrics(CollectorRegistry()), every_s=0.01)
        (detector,) = served.catalogue
        write_artifact(tmp_path / "a", seed=2)
        await reloader.start()
        await asyncio.to_thread(asked.wait, 10)
        await reloader.unload(detector)
        go.set()
        await reloader.stop()
        assert (detector.is_loaded, opened) == (False, [])


async def test_feature_scores_are_left_out_after_a_reload_to_a_kind_without(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    headers, body = encode_binary(request_event(ROWS))
    wanted = (*headers, (b"alibi-detect-return-feature-score", b"true"))
    async with detecting("--artifact", tmp_path / "a") as served:
        before = await served.post("/", body, *wanted)
        write_artifact(tmp_path / "a", kind="lof")
        assert (await load(served))[0] == 200
        after = await served.post("/", body, *wanted)
    told = ["feature_score" in document_of(response)["data"] for response in (before, after)]
    assert (before.status, after.status, told) == (200, 200, [True, False])


async def test_the_memory_of_the_one_before_is_given_back(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        (detector,) = served.catalogue
        with detector.using() as loaded:
            before = weakref.ref(loaded.service)
        del loaded
        write_artifact(tmp_path / "a", seed=2)
        await load(served)
        gc.collect()
        assert before() is None


async def test_a_signal_and_the_clock_reload(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a", "--reload-every", "1") as served:
        (detector,) = served.catalogue
        second = write_artifact(tmp_path / "a", seed=2)
        os.kill(os.getpid(), signal.SIGHUP)
        await wait_until(lambda: detector.card.identity.digest == second.digest)
        third = write_artifact(tmp_path / "a", seed=3)
        await wait_until(lambda: detector.card.identity.digest == third.digest)
        shutil.rmtree(tmp_path / "a")
        await wait_until(lambda: served.sample("reload_failed", detector="outlier") == 1)
        save(third, tmp_path / "a")
        await wait_until(lambda: served.sample("reload_failed", detector="outlier") == 0)
        assert digest_of(await served.post_event(request_event(ROWS))) == third.digest


async def test_a_detector_is_unloaded_and_loaded_again(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        assert document_of(await served.post(UNLOAD)) == {"name": "outlier", "state": "UNAVAILABLE"}
        assert (await served.post_event(request_event(ROWS))).status == 404
        assert (await served.infer("outlier", inputs=[])).status == 404
        assert (await served.get("/v2/models/outlier/ready")).status == 404
        (entry,) = document_of(await served.post("/v2/repository/index"))
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "unloaded")
        assert document_of(await served.post("/v2/repository/index", b'{"ready": true}', JSON)) == []
        assert (await served.post(UNLOAD)).status == 200
        assert await load(served) == (200, {"name": "outlier", "before": artifact.digest, "digest": artifact.digest})
        assert digest_of(await served.post_event(request_event(ROWS))) == artifact.digest


@pytest.mark.parametrize("path", [LOAD, UNLOAD])
async def test_a_page_in_a_browser_changes_nothing(path: str, tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    async with detecting("--artifact", tmp_path / "a") as served:
        response = await served.post(path, b"", (b"origin", b"http://localhost"))
        assert (response.status, document_of(response)) == (403, {"error": "this is not for web pages"})
        assert (await served.post(path.replace("outlier", "none"))).status == 404


def test_a_column_that_could_be_missing_must_stay_so() -> None:
    rows = normal_rows(2400, 1)
    whole = fit_artifact("knn", Table.of(rows), FitSettings()).artifact
    rows[::7, 1] = np.nan
    with_gaps = fit_artifact("knn", Table.of(rows), FitSettings()).artifact
    check_replacement(Card.of(whole, whole.identity()), with_gaps)
    with pytest.raises(ReloadRefused, match="column 2 may not be missing"):
        check_replacement(Card.of(with_gaps, with_gaps.identity()), whole)


class Misshapen(RowDetector):
    """Right for one row alone."""

    kind = "misshapen"
    gives_feature_scores = True
    features = FEATURES

    def __init__(self, is_score: bool) -> None:
        self._is_score = is_score

    def score(self, rows: Matrix) -> Vector:
        return np.zeros(1 if self._is_score else len(rows))

    def feature_scores(self, rows: Matrix) -> Matrix:
        return np.zeros((len(rows) if self._is_score else 1, FEATURES))


@pytest.mark.parametrize("is_score", [True, False], ids=["score", "feature scores"])
def test_a_detector_whose_results_have_another_shape_is_not_put_into_service(
    mahalanobis: Artifact, is_score: bool
) -> None:
    misshapen = replace(RowJudge.of(mahalanobis), detector=Misshapen(is_score))
    with pytest.raises(ReloadRefused, match="of zeros"):
        warm(misshapen)


def test_a_detector_without_a_finite_score_is_not_put_into_service(knn: Artifact) -> None:
    warm(RowJudge.of(knn))
    far = {name: np.full_like(array, 1e300) for name, array in knn.state.arrays.items() if array.ndim == 2}
    overflowing = replace(knn, state=State({**knn.state.arrays, **far}))
    with np.errstate(over="ignore"), pytest.raises(ReloadRefused, match="no finite score"):
        warm(RowJudge.of(overflowing))
