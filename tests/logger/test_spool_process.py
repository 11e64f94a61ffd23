"""Real logger processes with a spool: the sink goes and comes, the process is killed or stopped, and events arrive."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from logger_stage import HOST, EventSink, echo
from spool_stage import LoggerProcess, free_port, spooled

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.server import HttpServer
from wayside.eventing.vocabulary import REQUEST_ID
from wayside.logger.emit.spool import FILE_NAME


@dataclass
class Around:
    """A model, a client, and a sink that listens only once it is started."""

    model: HttpServer
    client: HttpClient = field(default_factory=HttpClient)
    sink: EventSink = field(default_factory=EventSink)
    sink_port: int = field(default_factory=free_port)

    def logger(self, *flags: str) -> LoggerProcess:
        return LoggerProcess(self.model.port, self.sink_port, *flags)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        self.sink.free.set()
        server = HttpServer(self.sink.answer, HOST, self.sink_port)
        await server.start()
        yield
        await server.stop()

    @property
    def arrived(self) -> set[tuple[str, str]]:
        """(type, body) of the events that the sink has; each is checked to be whole."""
        for event in self.sink.events:
            assert event.data.decode() == event.extensions[REQUEST_ID]
        return {(event.type, event.data.decode()) for event in self.sink.events}


@pytest.fixture
async def around() -> AsyncIterator[Around]:
    model = HttpServer(echo, HOST, 0)
    await model.start()
    made = Around(model)
    yield made
    await made.client.close()
    await model.stop()


async def until_metric(logger: LoggerProcess, client: HttpClient, name: str, value: float) -> None:
    async with asyncio.timeout(20):
        while await logger.metric(client, name) != value:
            await asyncio.sleep(0.02)


async def test_a_sink_that_comes_back_is_sent_everything(around: Around, tmp_path: Path) -> None:
    logger = around.logger("--spool", str(tmp_path))
    try:
        await logger.wait_ready(around.client)
        for number in range(50):
            assert await logger.ask(around.client, b"%d" % number) == 200
        await until_metric(logger, around.client, "wayside_logger_spool_events", 100)
        async with around.listening():
            await around.sink.wait_for(100)
            await until_metric(logger, around.client, "wayside_logger_spool_events", 0)
            assert await logger.metric(around.client, "wayside_logger_events_dropped_total") == 0
            status, said = await logger.end()
    finally:
        logger.kill()
    assert status == 0
    assert len(around.arrived) == 100
    assert "stopped with" not in said


async def test_sigterm_with_a_dead_sink_loses_nothing(around: Around, tmp_path: Path) -> None:
    flags = ("--spool", str(tmp_path), "--grace", "1")
    for first in (0, 30):
        logger = around.logger(*flags)
        try:
            await logger.wait_ready(around.client)
            for number in range(first, first + 30):
                assert await logger.ask(around.client, b"%d" % number) == 200
            status, said = await logger.end()
        finally:
            logger.kill()
        assert status == 0
        assert f"stopped with {2 * (first + 30)} events in the spool, for the next logger to send, and 0 unsent" in said
    await drain(around, flags, 120)
    assert len(around.arrived) == len(around.sink.events) == 120


async def drain(around: Around, flags: tuple[str, ...], count: int) -> None:
    """Let another logger send what is spooled."""
    logger = around.logger(*flags)
    try:
        async with around.listening():
            await around.sink.wait_for(count)
            await logger.wait_ready(around.client)
            await until_metric(logger, around.client, "wayside_logger_spool_events", 0)
            await logger.end()
    finally:
        logger.kill()


async def test_kill_9_under_load_loses_nothing_that_was_counted_as_spooled(around: Around, tmp_path: Path) -> None:
    flags = ("--spool", str(tmp_path))
    on_disk = 0
    for kill in range(3):
        logger = around.logger(*flags)
        try:
            await logger.wait_ready(around.client)
            found = await logger.metric(around.client, "wayside_logger_spool_found_events_total")
            assert found >= on_disk
            asking = [asyncio.create_task(ask_on(logger, around.client, f"{kill}-{each}")) for each in range(8)]
            async with asyncio.timeout(20):
                while (
                    await logger.metric(around.client, "wayside_logger_spool_appended_events_total") < 200 * kill + 100
                ):
                    await asyncio.sleep(0.01)
            on_disk = int(await logger.metric(around.client, "wayside_logger_spool_events"))
            status, _ = await logger.end(signal.SIGKILL)
            await asyncio.gather(*asking, return_exceptions=True)
        finally:
            logger.kill()
        assert status == -signal.SIGKILL
    kept = {(event.type, event.data.decode()) for event in await spooled(tmp_path)}
    assert len(kept) >= on_disk > 0
    await drain(around, flags, len(kept))
    assert kept <= around.arrived


async def ask_on(logger: LoggerProcess, client: HttpClient, name: str) -> None:
    """Ask until the logger is gone."""
    number = 0
    while await logger.ask(client, f"{name}-{number}".encode()) == 200:
        number += 1


def test_the_file_has_the_name_that_the_page_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "logger.md"
    assert f"`{FILE_NAME}`" in page.read_text()
