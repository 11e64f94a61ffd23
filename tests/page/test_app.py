"""The page's server: what every answer carries, whom it answers, and what it says when its sources are down."""

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from page_seed import Loop, alert, inference, open_loop, open_page, verdict, window
from prometheus_client import CollectorRegistry

from wayside.eventing.alert import AlertState
from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Headers, Response
from wayside.eventing.http.url import Url
from wayside.eventing.kafka.address import parse_address
from wayside.eventing.kafka.subscription import Subscription
from wayside.local.carriers import KafkaCarrier
from wayside.local.demo.ledger import Answer, Route
from wayside.local.page.app import CONTENT_SECURITY_POLICY, STATIC
from wayside.local.page.sources import AdminPorts

NOWHERE = Url.parse("http://127.0.0.1:9")
PANELS = ("traffic", "latency", "flagged", "false_alarms", "drift", "alerts", "broker")


async def get(url: str, headers: Headers | None = None, method: bytes = b"GET") -> Response:
    client = HttpClient()
    try:
        return await client.send(method, Url.parse(url), headers or [], timeout_s=10)
    finally:
        await client.close()


async def state(url: str) -> dict[str, Any]:
    response = await get(f"{url}/api/state")
    assert response.status == 200, response.body
    parsed: dict[str, Any] = json.loads(response.body)
    return parsed


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/page.css", "/api/state", "/api/records/none", "/none", "/../cli.py"]
)
async def test_every_answer_carries_the_security_headers(loop: Loop, path: str) -> None:
    response = await get(loop.url + path)
    assert response.status in (200, 404)
    assert response.header(b"content-security-policy") == CONTENT_SECURITY_POLICY.encode()
    assert response.header(b"x-content-type-options") == b"nosniff"
    assert response.header(b"referrer-policy") == b"no-referrer"
    expected = b"no-cache" if path == "/" or path.endswith((".js", ".css")) else b"no-store"
    assert response.header(b"cache-control") == expected


def test_the_policy_forbids_inline_script_and_foreign_hosts() -> None:
    policy = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8600", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:8600", 200),
        ("rebound.example:8600", 421),
        ("127.0.0.1.rebound.example", 421),
        ("[::1]x", 421),
    ],
)
async def test_only_requests_for_this_machine_are_answered(loop: Loop, host: str, status: int) -> None:
    request = b"GET /api/state HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % host.encode()
    answer = await raw(loop.url, request)
    assert int(answer.split(b" ", 2)[1]) == status
    assert b"content-security-policy: default-src 'none'" in answer


async def raw(url: str, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_nothing_but_reading_is_offered(loop: Loop) -> None:
    assert (await get(f"{loop.url}/api/state", method=b"POST")).status == 405


async def test_health_readiness_and_metrics(loop: Loop) -> None:
    assert (await get(f"{loop.url}/healthz")).status == 200
    assert (await get(f"{loop.url}/readyz")).status == 200
    await state(loop.url)
    metrics = (await get(f"{loop.url}/metrics")).body
    assert b"wayside_page_state_seconds_count 1.0" in metrics


async def test_without_sources_each_panel_says_what_to_set() -> None:
    async with open_page(AdminPorts()) as server:
        shown = await state(f"http://127.0.0.1:{server.port}")
    flags = {"flagged": "--records", "broker": "--broker-admin", "alerts": "--records"}
    assert all(flag in shown[panel]["problem"] for panel, flag in flags.items())
    assert all("problem" in shown[panel] for panel in PANELS)
    assert shown["headline"]["state"] == "unknown"
    assert shown["headline"]["balance"]["state"] == "unknown"


async def test_sources_that_are_down_take_only_their_own_panels_down(tmp_path: Path) -> None:
    async with open_loop(tmp_path) as loop:
        await loop.take(window(0, 200, time.time(), 0.5))
        ports = AdminPorts(NOWHERE, NOWHERE, (NOWHERE,))
        async with open_page(ports, tmp_path / "records.sqlite", tmp_path / "nothing.sqlite") as server:
            shown = await state(f"http://127.0.0.1:{server.port}")
    assert {panel for panel in PANELS if "problem" in shown[panel]} == {"traffic", "latency", "broker"}
    assert "not reachable: http://127.0.0.1:9" in shown["broker"]["problem"]
    assert shown["headline"]["state"] == "quiet"
    assert len(shown["drift"]["series"][0]["windows"]) == 1


async def test_a_kafka_that_is_down_takes_only_its_own_panel_down(tmp_path: Path) -> None:
    carrier = KafkaCarrier([Subscription(parse_address("kafka://127.0.0.1:9/events"), "group")], {})
    async with open_loop(tmp_path), open_page(AdminPorts(kafka=carrier), tmp_path / "records.sqlite") as server:
        shown = await state(f"http://127.0.0.1:{server.port}")
    assert "cannot read group group at 127.0.0.1:9" in shown["broker"]["problem"]
    assert "problem" not in shown["flagged"]


async def test_a_store_that_appears_late_is_found(tmp_path: Path) -> None:
    async with open_page(AdminPorts(), tmp_path / "records.sqlite") as server:
        url = f"http://127.0.0.1:{server.port}"
        assert "cannot open the record store" in (await state(url))["flagged"]["problem"]
        async with open_loop(tmp_path):
            shown: dict[str, Any] = {"problem": ""}
            deadline = time.monotonic() + 10
            while "problem" in shown and time.monotonic() < deadline:
                shown = (await state(url))["flagged"]
    assert shown["cards"] == []


async def test_a_detector_that_keeps_no_windows_adds_nothing(loop: Loop) -> None:
    rows_only = AdminServer(CollectorRegistry(), "127.0.0.1", 0)
    await rows_only.start()
    loop.windows = {"rows": 7, "in_windows": 4, "open": 3}
    drift = tuple(Url.parse(f"http://127.0.0.1:{admin.port}") for admin in (rows_only, loop.admin))
    async with open_page(AdminPorts(drift=drift), loop.ledger.path.with_name("records.sqlite")) as server:
        shown = (await state(f"http://127.0.0.1:{server.port}"))["headline"]["balance"]
    await rows_only.stop()
    assert (shown["in_windows"], shown["open"]) == (4, 3)


async def test_the_state_of_a_loop_with_traffic(loop: Loop) -> None:
    now = time.time()
    request, response = inference("e1", now, [[1.0] * 64] * 2, [4, 5])
    await loop.take(request, response, verdict(request, [1.0, 9.0], [0.5, 0.001], 3.0))
    await loop.take(window(0, 200, now - 9, 1e-9), window(200, 400, now, 0.5))
    await loop.take(
        *(alert(state, 0, now - 9, at) for state, at in ((AlertState.RESOLVED, now), (AlertState.OPENED, now - 9)))
    )
    await loop.ledger.begin_phase("ordinary", "Ordinary digits", "ordinary")
    loop.ledger.record(Answer(now, Route.THROUGH, "r1", 2, 200, 0.004, "ordinary"))
    loop.ledger.record(Answer(now, Route.DIRECT, "r2", 2, 200, 0.003, "ordinary"))
    await loop.ledger.flush()
    loop.windows = {"rows": 2, "in_windows": 0, "open": 2}
    shown = await state(loop.url)
    balance = shown["headline"]["balance"]
    assert (balance["state"], balance["answered"], balance["recorded"], balance["open"]) == ("holds", 2, 2, 2)
    assert shown["headline"]["services"] == ["digits"]
    assert shown["demo"]["current"] == "ordinary"
    (card,) = shown["flagged"]["cards"]
    assert (card["score"], card["p_value"], card["threshold"], card["prediction"]) == (9.0, 0.001, 3.0, "5")
    assert card["picture"] == [1.0] * 64
    (told,) = shown["alerts"]["alerts"]
    assert (told["opened"], told["resolved"], told["state"]) == (pytest.approx(now - 9), pytest.approx(now), "resolved")
    assert [(feature["name"], feature["window"][2]) for feature in told["features"]] == [("pixel 42", 10.7)]
    (standing,) = shown["alerts"]["series"]
    assert (standing["quiet"], standing["any_feature"], standing["any_feature_quiet"]) == (1, 1, 0)
    assert [line["points"][0][1] for line in shown["latency"]["lines"]] == [4.0, 3.0]
    (detector,) = shown["false_alarms"]["detectors"]
    assert (detector["alpha"], detector["scored"], detector["flagged"], detector["share"]) == (0.01, 2, 1, 0.5)
    document = await get(f"{loop.url}/api/records/{card['id']}")
    assert document.header(b"content-type") == b"text/plain; charset=utf-8"
    assert b'"requestid": "client-e1"' in document.body


async def test_without_a_ledger_the_loggers_histograms_speak(tmp_path: Path) -> None:
    async with open_loop(tmp_path, with_ledger=False) as loop:
        deadline = time.monotonic() + 15
        shown: dict[str, Any] = {}
        while not (shown and shown["latency"]["lines"][0]["points"]) and time.monotonic() < deadline:
            loop.logger.answered(10, latency_s=0.003)
            shown = await state(loop.url)
    through, alone = shown["latency"]["lines"]
    assert shown["latency"]["source"] == "logger"
    assert 2.0 < alone["points"][0][1] <= through["points"][0][1] < 6.0
    assert shown["traffic"]["dropped"] == {}
    assert shown["traffic"]["queue"]["limit_events"] == 10_000


async def test_the_state_is_made_once_a_second_at_most(loop: Loop) -> None:
    first = await get(f"{loop.url}/api/state")
    assert (await get(f"{loop.url}/api/state")).body == first.body


def test_no_script_parses_markup_or_leaves_the_machine() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|srcdoc|\.style\b"
    )
    for path in STATIC.glob("*.js"):
        text = path.read_text()
        assert not forbidden.search(text), path
        assert set(re.findall(r"https?://[^\"'`\s]+", text)) <= {"http://www.w3.org/2000/svg"}, path
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page)
    assert "http" not in page + (STATIC / "page.css").read_text()
