"""The admin port: health, readiness by name, metrics, JSON views, queries, actions."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import JSON, Headers, Response
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable

_READY: dict[str, bool] = {"store": True, "broker": True}


@pytest.fixture
async def ready() -> dict[str, bool]:
    return dict(_READY)


@pytest.fixture
async def admin(ready: dict[str, bool]) -> AsyncIterator[AdminServer]:
    registry = CollectorRegistry()
    Counter("wayside_test_events", "Events.", registry=registry).inc(3)
    checks = {name: (lambda name=name: ready[name]) for name in ready}
    views = {"/counts": lambda: {"events": 3}, "/broken": lambda: {"events": object()}}
    server = AdminServer(registry, "127.0.0.1", 0, checks, views)
    await server.start()
    yield server
    await server.stop()


async def _ask(admin: AdminServer, path: str, method: bytes = b"GET", accept: bytes = b"*/*") -> Response:
    client = HttpClient()
    url = Url.parse(f"http://127.0.0.1:{admin.port}{path}")
    response = await client.send(method, url, [(b"accept", accept)], timeout_s=10)
    await client.close()
    return response


async def test_a_service_is_healthy_while_it_answers(admin: AdminServer) -> None:
    assert (await _ask(admin, "/healthz?x=1")).status == 200
    assert (await _ask(admin, "/healthz", b"HEAD")).status == 200


async def test_readiness_names_what_is_not_ready(admin: AdminServer, ready: dict[str, bool]) -> None:
    assert (await _ask(admin, "/readyz")).status == 200
    ready["broker"] = False
    response = await _ask(admin, "/readyz")
    assert (response.status, response.body) == (503, b"not ready: broker\n")
    ready["broker"] = True
    assert (await _ask(admin, "/readyz")).status == 200


@pytest.mark.parametrize(
    ("accept", "kind"), [(b"*/*", b"text/plain"), (b"application/openmetrics-text; version=1.0.0", b"application/open")]
)
async def test_metrics_come_in_the_form_that_is_asked_for(admin: AdminServer, accept: bytes, kind: bytes) -> None:
    response = await _ask(admin, "/metrics", accept=accept)
    assert b"wayside_test_events_total 3.0" in response.body
    assert (response.header(b"content-type") or b"").startswith(kind)


async def test_views_are_json(admin: AdminServer) -> None:
    response = await _ask(admin, "/counts")
    assert (response.header(b"content-type"), json.loads(response.body)) == (b"application/json", {"events": 3})


async def test_a_view_that_fails_fails_alone(admin: AdminServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, "wayside.http"):
        assert (await _ask(admin, "/broken")).status == 500
    assert (await _ask(admin, "/healthz")).status == 200


async def test_an_unknown_path_names_the_known_ones(admin: AdminServer) -> None:
    response = await _ask(admin, "/")
    assert response.status == 404
    assert b"/healthz /readyz /metrics /counts" in response.body


async def test_a_view_takes_no_post(admin: AdminServer) -> None:
    response = await _ask(admin, "/metrics", b"POST")
    assert (response.status, response.header(b"allow")) == (405, b"GET, HEAD")


async def _echo(query: Mapping[str, str]) -> bytes:
    return json.dumps(query).encode()


async def _act(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if "full" in asked:
        raise SinkUnavailable("the store is full", 4.6)
    return {"asked": asked}


@pytest.fixture
async def acting() -> AsyncIterator[AdminServer]:
    server = AdminServer(CollectorRegistry(), "127.0.0.1", 0, queries={"/echo": _echo}, actions={"/act": _act})
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize(
    ("query", "status", "answer"),
    [
        ("", 200, b"{}"),
        ("?", 200, b"{}"),
        ("?a=1&b=%20x+y", 200, b'{"a": "1", "b": " x y"}'),
        ("?a=", 200, b'{"a": ""}'),
        ("?a", 400, b"the query cannot be read: bad query field: 'a'"),
        ("?a=1&a=2", 400, b"the query names a field twice"),
        ("?a=%ff", 400, b"the query cannot be read: 'utf-8'"),
        ("?" + "&".join(f"a{number}=" for number in range(33)), 400, b"the query cannot be read: Max number"),
    ],
)
async def test_a_query_is_read_whole_or_refused(acting: AdminServer, query: str, status: int, answer: bytes) -> None:
    response = await _ask(acting, f"/echo{query}")
    assert response.status == status
    assert response.body.startswith(answer)


@pytest.mark.parametrize(
    ("method", "headers", "body", "status", "answer"),
    [
        (b"POST", [JSON], b'{"a": 1}', 200, b'{"asked": {"a": 1}}'),
        (b"POST", [(b"content-type", b"Application/JSON ;charset=utf-8")], b"{}", 200, b'{"asked": {}}'),
        (b"POST", [JSON], b"", 400, b"the body cannot be read as JSON"),
        (b"POST", [JSON], b"[]", 400, b"the body is not a JSON object"),
        (b"POST", [JSON], b"[" * 50_000, 400, b"the body cannot be read as JSON"),
        (b"POST", [JSON], b"\xff", 400, b"the body cannot be read as JSON"),
        (b"POST", [JSON], b" " * (64 << 10) + b"{}", 413, b""),
        (b"POST", [JSON], b'{"full": 1}', 503, b"the store is full"),
        (b"POST", [], b"{}", 415, b"send content-type: application/json"),
        (b"POST", [(b"content-type", b"application/x-www-form-urlencoded")], b"{}", 415, b"send content-type"),
        (b"POST", [JSON, (b"origin", b"null")], b"{}", 403, b"this is not for web pages"),
        (b"GET", [JSON], b"", 405, b"use POST"),
        (b"PUT", [JSON], b"{}", 405, b"use POST"),
    ],
)
async def test_an_action_takes_a_json_object_by_post_and_from_no_web_page(
    acting: AdminServer, method: bytes, headers: Headers, body: bytes, status: int, answer: bytes
) -> None:
    client = HttpClient()
    url = Url.parse(f"http://127.0.0.1:{acting.port}/act")
    response = await client.send(method, url, headers, body, timeout_s=10)
    await client.close()
    assert response.status == status
    assert response.body.startswith(answer)
    assert response.header(b"retry-after") == (b"5" if status == 503 else None)


async def test_an_unknown_path_names_queries_and_actions_too(acting: AdminServer) -> None:
    assert (await _ask(acting, "/")).body == b"try /healthz /readyz /metrics /echo POST /act\n"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"LocalHost:8611", 200),
        (b"127.0.0.1:1", 200),
        (b"[::1]:8611", 200),
        (b"evil.example:8611", 421),
        (b"127.0.0.1.evil.example", 421),
        (b"", 421),
    ],
)
async def test_on_loopback_a_query_answers_to_no_other_name(acting: AdminServer, host: bytes, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", acting.port)
    writer.write(b"GET /echo HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % host)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
