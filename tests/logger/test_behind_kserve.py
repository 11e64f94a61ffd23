"""KServe's real ModelServer behind the logger and around its middleware: V1, V2 JSON and binary, errors, metadata."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from logger_stage import before
from model_servers import (
    Asked,
    ModelServer,
    ask,
    check,
    check_broken,
    check_grpc,
    environment,
    served,
    v2_binary,
    v2_json,
)

pytestmark = pytest.mark.model_server
IDS = count(1)
BINARY, BINARY_HEADERS = v2_binary([1.0, 2.0], binary_output=True)
ASKED = [
    Asked(
        "V1",
        "/v1/models/sums:predict",
        b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}',
        sent=[[1.0, 2.0], [3.0, 4.0]],
        told=[3.0, 7.0],
    ),
    Asked("V2", "/v2/models/sums/infer", v2_json([1.0, 2.0]), sent=[[1.0, 2.0]], told=[3.0]),
    Asked("V2 binary", "/v2/models/sums/infer", BINARY, sent=[[1.0, 2.0]], told=[3.0], headers=BINARY_HEADERS),
    Asked("no JSON", "/v1/models/sums:predict", b"{no json", 400),
    Asked("bad rows", "/v2/models/sums/infer", v2_json([-1.0, 2.0]), 400, sent=[[-1.0, 2.0]]),
    Asked(
        "no such model", "/v1/models/unknown:predict", b'{"instances": [[1.0]]}', 404, sent=[[1.0]], seen_inside=False
    ),
    Asked("metadata", "/v2/models/sums"),
    Asked("ready", "/v2/models/sums/ready"),
    Asked("live", "/v2/health/live"),
]
BROKEN = Asked("a model that breaks", "/v1/models/sums:predict", b'{"instances": [["inf"]]}', 500, seen_inside=False)
INSIDE = [row for row in ASKED if row.seen_inside]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    python = environment("model-server", "scripts/setup")
    with served(python, "by_kserve.py", tmp_path_factory.mktemp("model-server") / "log.txt") as running:
        yield running


@pytest.mark.parametrize("asked", ASKED, ids=[row.name for row in ASKED])
async def test_the_proxy_before_it_captures_what_it_is_asked(server: ModelServer, asked: Asked) -> None:
    async with before(server.port) as stage:
        response = await ask(stage.logger.port, asked, f"proxy-{next(IDS)}")
        events = sorted(await stage.sink.wait_for(2), key=lambda event: event.type)
    check(asked, response, events)


@pytest.mark.parametrize("asked", INSIDE, ids=[row.name for row in INSIDE])
async def test_the_middleware_in_it_captures_the_same(server: ModelServer, asked: Asked) -> None:
    request_id = f"inside-{next(IDS)}"
    response = await ask(server.port, asked, request_id)
    events = await asyncio.to_thread(server.kept.wait_pair, request_id)
    assert events[0].source == "inside"
    check(asked, response, events)


async def test_a_server_s_own_500_is_told_in_both_places(server: ModelServer) -> None:
    await check_broken(server, BROKEN, f"broken-{next(IDS)}")


async def test_grpc_is_answered(server: ModelServer) -> None:
    await check_grpc(server)
