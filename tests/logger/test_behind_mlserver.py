"""A real MLServer behind the logger and around its middleware: V2 JSON, what it refuses, errors, metadata."""

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

pytestmark = pytest.mark.mlserver
IDS = count(1)
BINARY, BINARY_HEADERS = v2_binary([1.0, 2.0], binary_output=False)
ASKED = [
    Asked("V2", "/v2/models/sums/infer", v2_json([1.0, 2.0]), sent=[[1.0, 2.0]], told=[[3.0]]),
    # MLServer 1.7 takes no binary tensors over REST; what it refuses is captured all the same
    Asked("V2 binary", "/v2/models/sums/infer", BINARY, 500, [[1.0, 2.0]], headers=BINARY_HEADERS, seen_inside=False),
    Asked("no JSON", "/v2/models/sums/infer", b"{no json", 422),
    Asked("bad rows", "/v2/models/sums/infer", v2_json([-1.0, 2.0]), 400, sent=[[-1.0, 2.0]]),
    Asked("no such model", "/v2/models/unknown/infer", v2_json([1.0, 2.0]), 404, sent=[[1.0, 2.0]]),
    Asked("metadata", "/v2/models/sums"),
    Asked("ready", "/v2/models/sums/ready"),
    Asked("live", "/v2/health/live"),
]
BROKEN = Asked("a model that breaks", "/v2/models/sums/infer", v2_json([1e9, 2.0]), 500, seen_inside=False)
INSIDE = [row for row in ASKED if row.seen_inside]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    python = environment("mlserver", "scripts/setup --with-mlserver")
    with served(python, "by_mlserver.py", tmp_path_factory.mktemp("mlserver") / "log.txt") as running:
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
