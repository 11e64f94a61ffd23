"""The middleware in a real server, around real frameworks, and with nothing installed but Python."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from asgi_stage import App, sink_of_events
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from logger_stage import HOST
from prometheus_client import CollectorRegistry

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.url import Url
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.vocabulary import STATUS_CODE, TRUNCATED
from wayside.logger.asgi import PayloadLoggerMiddleware

ROOT = Path(__file__).parents[2]
FOLDERS = [str(ROOT / name) for name in ("eventing", "logger", "detectors", "sinks", "local")]
V1 = b'{"instances": [[1.0, 2.0]]}'
Started = Callable[[], Awaitable[None]]


def app_with(port: int, **keywords: str) -> FastAPI:
    app = FastAPI()
    url = f"http://{HOST}:{port}/"
    registry = CollectorRegistry()
    app.state.registry = registry
    app.add_middleware(PayloadLoggerMiddleware, log_url=url, source="app", environ={}, registry=registry, **keywords)

    @app.post("/v1/models/m:predict")
    async def predict(request: Request) -> dict[str, object]:
        instances = (await request.json())["instances"]
        return {"predictions": [sum(row) for row in instances]}

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(tokens(), media_type="text/event-stream")

    async def tokens() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"
            await app.state.go_on.wait()

    return app


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[int]:
    """uvicorn on a port of its own, in this loop; on the way out it ends as on SIGTERM."""
    config = uvicorn.Config(app, host=HOST, port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def test_fastapi_behind_uvicorn_is_captured_and_flushed_at_its_end() -> None:
    client = HttpClient()
    async with sink_of_events() as (sink, port):
        sink.free.clear()  # the sink answers only once the server is asked to stop
        app = app_with(port, inference_service="digits")
        async with serving(app) as served:
            url = Url.parse(f"http://{HOST}:{served}/v1/models/m:predict")
            json_type = [(b"content-type", b"application/json")]
            answers = [await client.send(b"POST", url, json_type, body, timeout_s=5) for body in (V1, V1, b"no json")]
            assert [answer.status for answer in answers] == [200, 200, 500]
            await client.close()
            sink.free.set()
        assert len(sink.events) == 6
    ids = [event.id for event in sink.of("request")]
    assert sorted(ids) == sorted(event.id for event in sink.of("response"))
    told = {event.id: event for event in sink.of("response")}
    assert sorted(event.extensions[STATUS_CODE] for event in told.values()) == ["200", "200", "500"]
    whole = [event for event in told.values() if event.extensions[STATUS_CODE] == "200"]
    assert [decode(message_of(event)).row_values() for event in whole] == [[3.0], [3.0]]
    samples = {
        (sample.name, sample.labels.get("kind")): sample.value
        for metric in app.state.registry.collect()
        for sample in metric.samples
    }
    assert samples["wayside_logger_events_sent_total", "request"] == 3


async def test_a_stream_is_not_held_up_and_is_told_when_it_ends() -> None:
    async with sink_of_events() as (sink, port):
        app = app_with(port)
        app.state.go_on = asyncio.Event()
        async with serving(app) as served:
            reader, writer = await asyncio.open_connection(HOST, served)
            writer.write(b"POST /stream HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
            async with asyncio.timeout(5):
                await reader.readuntil(b"data: 0\n\n")
            assert sink.of("response") == []
            app.state.go_on.set()
            async with asyncio.timeout(5):
                await reader.readuntil(b"0\r\n\r\n")
            writer.close()
        (response,) = sink.of("response")
    assert response.data == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert response.datacontenttype == "text/event-stream; charset=utf-8"


async def test_a_client_that_breaks_off_a_stream_leaves_a_cut_response() -> None:
    async with sink_of_events() as (sink, port):
        app = app_with(port)
        app.state.go_on = asyncio.Event()
        async with serving(app) as served:
            reader, writer = await asyncio.open_connection(HOST, served)
            writer.write(b"POST /stream HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
            async with asyncio.timeout(5):
                await reader.readuntil(b"data: 0\n\n")
            writer.close()
            await sink.wait_for(2)
        (response,) = sink.of("response")
    assert (response.data, response.extensions[TRUNCATED]) == (b"data: 0\n\n", "true")


ALONE = """
import asyncio, sys
sys.path[:0] = {folders}
from wayside.logger.asgi import PayloadLoggerMiddleware
from wayside.logger.settings import Delivery, Capture, Identity, Listen, LoggerSettings, Upstream
from wayside.eventing.vocabulary import ServiceKey

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({{"type": kind + ".complete"}})
        return
    body = (await receive())["body"]
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": body}})

async def main():
    given = {how}
    middleware = PayloadLoggerMiddleware(app, **given)
    told = asyncio.Queue()
    async def quiet(message): pass
    living = asyncio.ensure_future(middleware({{"type": "lifespan"}}, told.get, quiet))
    told.put_nowait({{"type": "lifespan.startup"}})
    async def receive(): return {{"type": "http.request", "body": b"{{}}"}}
    scope = {{"type": "http", "method": "POST", "path": "/p", "http_version": "1.1", "headers": []}}
    await middleware(scope, receive, quiet)
    told.put_nowait({{"type": "lifespan.shutdown"}})
    await living
    assert middleware.faults == 0
    assert middleware.counts.sent == {{"request": 1, "response": 1}}, middleware.counts.dropped
    foreign = [name for name in sys.modules if name.partition(".")[0] in ("httptools", "uvloop", "prometheus_client")]
    assert not foreign, foreign

asyncio.run(main())
"""
_SETTINGS = (
    'dict(settings=LoggerSettings(Listen(), Upstream(), Capture(), Identity("a", ServiceKey("", "", "", "")),'
    ' Delivery("{url}")))'
)
_KEYWORDS = 'dict(environ={{}}, log_url="{url}", source="a")'


@pytest.mark.parametrize("how", [_SETTINGS, _KEYWORDS], ids=["settings", "keywords"])
async def test_the_standard_library_is_enough(how: str) -> None:
    async with sink_of_events() as (sink, port):
        script = ALONE.format(folders=FOLDERS, how=how.format(url=f"http://{HOST}:{port}/"))
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-S", "-W", "error", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.defpath},
        )
    assert done.returncode == 0, done.stderr
    assert [json.loads(event.data) for event in sink.events] == [{}, {}]
