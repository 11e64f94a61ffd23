"""The admin port: health, readiness by name, metrics, JSON views."""

import json
import logging
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url

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


async def test_nothing_is_changed_over_the_admin_port(admin: AdminServer) -> None:
    response = await _ask(admin, "/metrics", b"POST")
    assert (response.status, response.header(b"allow")) == (405, b"GET, HEAD")
