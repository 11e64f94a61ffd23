"""adserver's command line and environment: each argument honoured, or refused with what to do instead."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.serving import adserver
from wayside.detectors.serving.answering import Wanted
from wayside.detectors.serving.reply_terms import ReplyTerms
from wayside.detectors.serving.settings import ArtifactAt
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import decode, encode_binary
from wayside.eventing.vocabulary import (
    REQUEST,
    RESPONSE,
    SELDON_DRIFT,
    SELDON_FEEDBACK,
    SELDON_REQUEST,
    SELDON_RESPONSE,
    VERDICTS,
)

from .conftest import request_event
from .detect_application import ROWS, Detecting, detecting, write_artifact
from .test_cli import MODULE, Process, free_ports, run

OUTLIER = "OutlierDetector"
OUTLIER_TYPE = "io.seldon.serving.inference.outlier"


def test_arguments_are_translated() -> None:
    settings = adserver.parse(
        ["--http_port=9000", "--protocol=seldon.http", "--storage_uri=gs://b/model", "--model_name=income", OUTLIER],
        {},
    )
    assert settings.artifacts == (ArtifactAt("gs://b/model", "income"),)
    assert (settings.host, settings.port, settings.terms.protocol) == ("0.0.0.0", 9000, "seldon.http")
    assert settings.terms.reply == ReplyTerms()
    settings = adserver.parse(
        f"--storage_uri /mnt/models --reply_url http://broker/a/b --event_type {OUTLIER_TYPE}"
        " --event_source urn:seldon DriftDetector --drift_batch_size 50".split(),
        {"WAYSIDE_DETECT_DATA": "/data"},
    )
    assert (settings.sink_url, settings.data, settings.port) == ("http://broker/a/b", Path("/data"), 8080)
    assert settings.terms.reply == ReplyTerms(OUTLIER_TYPE, "urn:seldon")


@pytest.mark.parametrize("protocol", adserver.PROTOCOLS)
def test_every_protocol_is_taken(protocol: str) -> None:
    settings = adserver.parse(["--storage_uri", "a", "--protocol", protocol, "OutlierDetector"], {})
    assert settings.terms.protocol == protocol


@pytest.mark.parametrize(
    ("value", "wanted"), [("true", True), ("True", True), ("TRUE", True), ("false", False), ("1", False), ("", False)]
)
def test_the_environment_asks_for_feature_scores(value: str, wanted: bool) -> None:
    environ = {"ALIBI_DETECT_RETURN_FEATURE_SCORE": value, "ALIBI_DETECT_RETURN_INSTANCE_SCORE": value}
    settings = adserver.parse(["--storage_uri", "a", "OutlierDetector"], environ)
    assert settings.terms.wanted == Wanted(feature_scores=wanted)


@pytest.mark.parametrize(
    ("argv", "environ", "level"),
    [
        (["--storage_uri", "a"], {"CESERVER_LOGLEVEL": "DEBUG"}, "DEBUG"),
        (["--storage_uri", "a"], {"CESERVER_LOGLEVEL": "DEBUG", "WAYSIDE_LOG_LEVEL": "ERROR"}, "ERROR"),
        (["--storage_uri", "a"], {}, None),
        (["--artifact", "a"], {"CESERVER_LOGLEVEL": "DEBUG"}, None),
    ],
)
def test_the_level_of_the_log_has_adservers_name_too(
    argv: list[str], environ: dict[str, str], level: str | None
) -> None:
    assert adserver.with_log_level(argv, environ).get("WAYSIDE_LOG_LEVEL") == level


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--protocol", "grpc", "OutlierDetector"], "invalid choice"),
        (["--event_type", REQUEST, "OutlierDetector"], "judge itself"),
        (["--event_type", RESPONSE, "OutlierDetector"], "judge itself"),
        (["--event_type", SELDON_REQUEST, "OutlierDetector"], "judge itself"),
        (["--event_type", "x y", "OutlierDetector"], "no single printable word"),
        (["--event_type", "x\ny", "OutlierDetector"], "no single printable word"),
        (["--event_source", "a b", "OutlierDetector"], "no URI reference"),
        (["--event_source", "a%zz", "OutlierDetector"], "no URI reference"),
        (["--reply_url", "broker", "OutlierDetector"], "broker"),
        (["--elasticsearch_uri", "http://es:9200", "OutlierDetector"], "wayside sink records"),
        (["MetricsServer"], "wayside sink prometheus"),
        (["--model_name", "A/B", "OutlierDetector"], "not allowed"),
        (["--http_port", "x", "OutlierDetector"], "not a port"),
        (["--workers=2", "OutlierDetector"], "unrecognized"),
        ([], "command"),
    ],
)
def test_arguments_that_cannot_be_honoured_are_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        adserver.parse(["--storage_uri", "a", *arguments], {})


@pytest.mark.parametrize(
    ("kind", "arguments", "reason"),
    [
        ("knn", ["DriftDetector"], "serve it as OutlierDetector"),
        ("knn", ["AdversarialDetector"], "no adversarial detector"),
        ("ks", ["OutlierDetector"], "serve it as DriftDetector"),
        ("ks", ["DriftDetector", "--drift_batch_size", "1000"], "fit it again with --window 1000"),
        ("ks", ["--event_type", OUTLIER_TYPE, "DriftDetector"], "--event_type cannot be chosen for drift"),
        ("ks", ["--event_source", "urn:a", "DriftDetector"], "--event_source cannot be chosen for drift"),
    ],
)
def test_an_artifact_that_the_sub_command_does_not_fit_is_one_line_and_status_2(
    kind: str,
    arguments: list[str],
    reason: str,
    knn_folder: Path,
    ks_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = {"knn": knn_folder, "ks": ks_folder}[kind]
    assert adserver.main(["--storage_uri", str(folder), *arguments], {}) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_the_artifact_that_fits_is_served(ks: Artifact, ks_folder: Path) -> None:
    settings = adserver.parse(["--storage_uri", str(ks_folder), "DriftDetector", "--drift_batch_size", "50"], {})
    assert settings.terms.check is not None
    settings.terms.check(ks)


def test_a_folder_of_alibi_detects_is_told_how_it_is_wrapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meta.dill").touch()
    assert adserver.main(["--storage_uri", str(tmp_path), "OutlierDetector"], {}) == 2
    error = capsys.readouterr().err
    assert f"wayside fit alibi --saved {tmp_path}" in error
    assert error.count("\n") == 1


def test_the_image_runs_it(tmp_path: Path) -> None:
    ended = run("--storage_uri", str(tmp_path), "OutlierDetector", CESERVER_LOGLEVEL="loud")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "'loud' is not a level" in ended.stderr


async def test_adservers_own_routes_are_there(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    argv = ["--storage_uri", str(tmp_path / "a"), "--protocol", "seldon.http", "OutlierDetector"]
    async with detecting(settings=adserver.parse(argv, {})) as served:
        protocol, metrics = await served.get("/protocol"), await served.get("/v1/metrics")
    assert (protocol.status, protocol.body) == (200, b"seldon.http")
    assert (metrics.header(b"content-type") or b"").startswith(b"text/plain")
    assert b"wayside_detector_events_total{" in metrics.body
    async with detecting("--artifact", tmp_path / "a") as served:
        assert (await served.get("/protocol")).status == 404


async def ask(served: Detecting, event: CloudEvent) -> int:
    return (await served.post_event(event)).status


async def test_an_event_of_any_type_is_judged_and_of_no_time(tmp_path: Path) -> None:
    """What adserver's own Makefile sends, and what KServe, Seldon and others do."""
    write_artifact(tmp_path / "a")
    settings = adserver.parse(["--storage_uri", str(tmp_path / "a"), OUTLIER], {})
    async with detecting(settings=settings) as served:
        for event_type in (REQUEST, SELDON_REQUEST, "seldon.request", "com.example", "io.seldon.serving.x"):
            event = replace(request_event(ROWS, time_text=None), type=event_type)
            response = await served.post_event(event)
            assert (response.status, decode(response.headers, response.body).time) == (200, None)
    async with detecting("--artifact", tmp_path / "a") as served:
        statuses = [await ask(served, replace(request_event(ROWS), type=each)) for each in (SELDON_REQUEST, "a.b")]
    assert statuses == [200, 202]


async def test_no_answer_of_a_detectors_is_judged_whatever_it_is_called(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    for name in ("com.example.verdict", ""):
        flags = ["--storage_uri", str(tmp_path / "a"), "--event_type", name, OUTLIER]
        async with detecting(settings=adserver.parse(flags, {})) as served:
            reply = await served.post_event(request_event(ROWS))
            verdict = decode(reply.headers, reply.body)
            renamed = [replace(verdict, type=each) for each in ("com.another", REQUEST, "seldon.outlier")]
            foreign = [
                replace(request_event(ROWS), type=each)
                for each in (
                    *(RESPONSE, SELDON_RESPONSE, OUTLIER_TYPE, SELDON_DRIFT, SELDON_FEEDBACK, *VERDICTS),
                    *([name] if name else []),
                )
            ]
            cut = request_event(ROWS, truncated="true")
            statuses = [await ask(served, event) for event in (verdict, *renamed, *foreign, cut)]
            assert (verdict.type, set(statuses)) == (name or "dev.wayside.inference.outlier", {202})


async def test_feature_scores_that_the_environment_wants_are_left_out_of_a_kind_without(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a", kind="iforest")
    flags, environ = ["--storage_uri", str(tmp_path / "a"), OUTLIER], {"ALIBI_DETECT_RETURN_FEATURE_SCORE": "TRUE"}
    async with detecting(settings=adserver.parse(flags, environ)) as served:
        response = await served.post_event(request_event(ROWS))
    assert (response.status, "feature_score" in json.loads(response.body)["data"]) == (200, False)


@asynccontextmanager
async def serving(command: str, **environ: str) -> AsyncIterator[Url]:
    """adserver's command line as a process; where its events are posted."""
    port, admin_port = free_ports(2)
    environ = {**os.environ, "WAYSIDE_DETECT_ADMIN_PORT": str(admin_port), **environ}
    child = await asyncio.create_subprocess_exec(*MODULE, "--http_port", str(port), *command.split(), env=environ)
    process = Process((), port, admin_port, HttpClient(), child)
    try:
        async with asyncio.timeout(20):
            while not await process.ready():
                await asyncio.sleep(0.02)
        yield Url.parse(f"http://127.0.0.1:{port}/")
        assert await process.end(signal.SIGTERM) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        await process.client.close()


async def test_the_process_posts_a_verdict_to_the_reply_url_and_replies_with_it(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a")
    posted: list[Request] = []

    async def collect(request: Request) -> Response:
        posted.append(request)
        return Response(503 if len(posted) == 1 else 202)

    sink = HttpServer(collect, "127.0.0.1", 0)
    await sink.start()
    flags = f"--storage_uri {tmp_path / 'a'} --event_type {OUTLIER_TYPE} --reply_url http://127.0.0.1:{sink.port}/"
    headers, body = encode_binary(request_event(ROWS))
    client = HttpClient()
    async with serving(f"{flags} OutlierDetector", ALIBI_DETECT_RETURN_FEATURE_SCORE="true") as url:
        refused, response = [await client.send(b"POST", url, headers, body, timeout_s=10) for _ in range(2)]
    await client.close()
    await sink.stop()
    reply = decode(response.headers, response.body)
    first, second = (decode(request.headers, request.body) for request in posted)
    assert (refused.status, response.status, first, second) == (503, 200, reply, reply)
    assert reply.type == OUTLIER_TYPE
    assert len(json.loads(reply.data)["data"]["feature_score"]) == 2
