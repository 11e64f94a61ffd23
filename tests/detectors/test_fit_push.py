"""`wayside fit --push-url`: a real Pushgateway's page, and what a fit does where there is none."""

import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.fitting.cli import main
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.push import Fitted, fit_metrics
from wayside.detectors.tabular.table import Table

from .conftest import normal_rows


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.save(tmp_path / "rows.npy", normal_rows(2000, 30))
    return str(tmp_path / "rows.npy")


@pytest.fixture
def group(service: Callable[[str], str]) -> Iterator[str]:
    """A detector's name of this test's own; its group is deleted from the Pushgateway afterwards."""
    name = f"t{uuid4().hex}"
    yield name
    url = f"{service('PUSHGATEWAY')}/metrics/job/wayside-fit/detector/{name}"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10).close()


def pushed(gateway: str, name: str) -> dict[str, tuple[float, dict[str, str]]]:
    """The samples of one group on the Pushgateway's page: value and labels by the sample's name."""
    with urllib.request.urlopen(f"{gateway}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.name: (sample.value, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("detector") == name
    }


def test_a_fit_is_shown_by_the_pushgateway(
    service: Callable[[str], str], group: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway, out = service("PUSHGATEWAY"), tmp_path / "out"
    arguments = ["knn", "--data", data, "--out", str(out), "--name", group, "--alpha", "0.02", "--push-url", gateway]
    assert main(arguments, {}) == 0
    assert f"pushed to {gateway}" in capsys.readouterr().out
    shown = pushed(gateway, group)
    assert shown["wayside_fit_reference_rows"][0] == 1000
    assert shown["wayside_fit_calibration_rows"][0] == 1000
    assert shown["wayside_fit_false_alarm_budget"][0] == 0.02
    assert shown["wayside_fit_threshold"][0] > 0
    assert shown["wayside_fit_duration_seconds"][0] > 0
    assert shown["wayside_fit_completed_timestamp_seconds"][0] > 1_700_000_000
    labels = shown["wayside_fit_artifact_info"][1]
    assert labels["job"] == "wayside-fit"
    assert (labels["digest"], labels["kind"]) == (load_folder(out).digest, "knn")


def test_a_push_replaces_the_one_before(
    service: Callable[[str], str], group: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = service("PUSHGATEWAY")
    for kind in ("mahalanobis", "ks"):
        arguments = [kind, "--data", data, "--out", str(tmp_path / "out"), "--name", group, "--push-url", gateway]
        assert main(arguments, {}) == 0
    shown = pushed(gateway, group)
    assert shown["wayside_fit_artifact_info"][1]["kind"] == "ks"
    assert "wayside_fit_threshold" not in shown, "a window detector has none, so the row detector's is gone"


def test_without_a_pushgateway_the_artifact_stays(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}"
    out = tmp_path / "out"
    assert main(["ks", "--data", data, "--out", str(out), "--push-url", url], {}) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert f"the artifact is written, but nobody was told of it: no Pushgateway at {url}" in printed.err
    assert "Connection refused" in printed.err
    assert load_folder(out).name == "drift"


class _Elsewhere(BaseHTTPRequestHandler):
    """Not a Pushgateway: sends every client on to another address."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(307)
        self.send_header("location", "http://127.0.0.1:1/")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_a_push_goes_nowhere_else(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither through the environment's proxy nor to where an answer points."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert main(["ks", "--data", data, "--out", str(tmp_path / "out"), "--push-url", url], {}) == 1
        server.shutdown()
    assert f"the Pushgateway at {url} answered 307: is that its address?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("pushgateway:9091", "not an absolute http:// or https:// URL"),
        ("http://user:secret@pushgateway:9091", "names a user"),
        ("http://pushgateway:9091/?job=mine", "has a query or a fragment"),
        ("http://pushgateway:port", "not a URL"),
    ],
)
def test_a_bad_address_is_refused_before_the_fit(
    url: str, reason: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ks", "--data", data, "--out", str(tmp_path / "out")], {"WAYSIDE_FIT_PUSH_URL": url}) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "secret" not in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["mahalanobis", "ks"])
def test_names_follow_the_conventions(kind: str, promtool: Callable[..., str]) -> None:
    report = fit_artifact(kind, Table.of(normal_rows(2000, 31)), FitSettings())
    exposition = generate_latest(fit_metrics(Fitted(report, 1.5, 1_700_000_000_000_000_000)))
    assert promtool("check", "metrics", text=exposition.decode()) == ""
