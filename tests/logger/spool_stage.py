"""What the spool's tests share: emitters with a spool, real logger processes, and the counts of both."""

import asyncio
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import EventRefused, MemorySink, Sink, SinkUnavailable
from wayside.eventing.storage.entry import KeptEntry
from wayside.eventing.storage.journal import look_at
from wayside.eventing.vocabulary import METADATA, REQUEST, RESPONSE
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit import spool_entry
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.parcel import kind_of
from wayside.logger.emit.spool import FILE_NAME, Spool
from wayside.logger.settings import Delivery, SpoolSettings, SpoolWhenFull

HOST = "127.0.0.1"
_PORTS = range(20_000, 30_000)  # below those that Linux gives to clients, one of which could connect to itself


def an_event(number: int, size_bytes: int = 100) -> CloudEvent:
    data = json.dumps({"number": number, "fill": "x" * size_bytes}).encode()
    kind = RESPONSE if number % 2 else REQUEST
    return CloudEvent(str(number), "pod", kind, data, extensions={METADATA: "{}"})


class Switch(MemorySink):
    """A sink that can be away, or hang."""

    def __init__(self, is_away: bool = False) -> None:
        super().__init__()
        self.is_away = is_away
        self.refuses: set[str] = set()
        self.held: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, event: CloudEvent) -> None:
        self.held.append(event.id)
        await self.gate.wait()
        if self.is_away:
            raise SinkUnavailable("gone")
        if event.id in self.refuses:
            raise EventRefused("never")
        self.events.append(event)

    @property
    def ids(self) -> set[int]:
        return {int(event.id) for event in self.events}


@dataclass
class Spooling:
    """An emitter with a spool, and its counts. What a test offers counts as captured, as it does behind a recorder."""

    emitter: Emitter
    spool: Spool
    counts: LoggerCounts

    def offer(self, event: CloudEvent) -> None:
        self.counts.captured[kind_of(event)] += 1
        self.emitter.offer(event)

    @property
    def sent(self) -> int:
        return sum(self.counts.sent.values())

    def dropped(self, reason: str = "") -> int:
        """Events dropped for a reason, or for any."""
        return sum(count for (_, why), count in self.counts.dropped.items() if reason in ("", why))

    def assert_balance(self) -> None:
        came = sum(self.counts.captured.values()) + self.spool.counts.found
        assert came == self.sent + self.dropped() + self.emitter.in_memory + self.spool.waiting

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop turn until something holds; the balance is held all the way."""
        async with asyncio.timeout(20):
            while not holds():
                self.assert_balance()
                await asyncio.sleep(0.002)
        self.assert_balance()


@asynccontextmanager
async def spooling(
    sink: Sink,
    folder: Path,
    limit_bytes: int = 1 << 30,
    when_full: SpoolWhenFull = SpoolWhenFull.DROP_OLDEST,
    queue_bytes: int = 64 << 20,
    grace_s: float = 0.4,
    workers: int = 4,
) -> AsyncIterator[Spooling]:
    counts = LoggerCounts()
    settings = SpoolSettings(folder, limit_bytes, when_full)
    spool = Spool(settings, 8)
    emitter = Emitter(sink, Delivery(workers=workers, queue_bytes=queue_bytes, spool=settings), counts, spool)
    stage = Spooling(emitter, spool, counts)
    await emitter.start()
    try:
        yield stage
    finally:
        await emitter.stop(grace_s)
        stage.assert_balance()
        assert look_at(folder / FILE_NAME).cursors[0].waiting_entries == spool.waiting


async def spooled(folder: Path) -> list[CloudEvent]:
    """What the file holds, read beside its owner."""

    def read() -> list[CloudEvent]:
        with sqlite3.connect(folder / FILE_NAME) as connection:
            rows = connection.execute("SELECT position, time_ns, head, data FROM journal_entry ORDER BY position")
            events = [spool_entry.decode(KeptEntry(*row)) for row in rows]
        connection.close()
        return events

    return await asyncio.to_thread(read)


def free_port() -> int:
    """A port that stays free for whoever comes back to it, while others try to connect to it."""
    for port in random.sample(_PORTS, k=200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


class LoggerProcess:
    """A real logger, before a model and with a sink, both on this machine."""

    def __init__(self, model_port: int, sink_port: int, *flags: str) -> None:
        self.port, self.admin_port = free_port(), free_port()
        ports = f"--port {self.port} --admin-port {self.admin_port} --component-port {model_port}"
        address = f"--host {HOST} --log-url http://{HOST}:{sink_port}/ --quiet-period 0 {ports}"
        command = [sys.executable, "-m", "wayside.logger", *address.split(), *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    async def wait_ready(self, client: HttpClient) -> None:
        url = Url.parse(f"http://{HOST}:{self.admin_port}/readyz")
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await client.send(b"GET", url, [], timeout_s=1)).status == 200:
                        return
                except Unreachable:
                    await asyncio.sleep(0.02)

    async def ask(self, client: HttpClient, body: bytes) -> int:
        url = Url.parse(f"http://{HOST}:{self.port}/v1/models/m:predict")
        return (await client.send(b"POST", url, [(b"x-request-id", body)], body, timeout_s=10)).status

    async def metric(self, client: HttpClient, name: str) -> float:
        url = Url.parse(f"http://{HOST}:{self.admin_port}/metrics")
        lines = (await client.send(b"GET", url, [], timeout_s=5)).body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    async def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status and what it logged."""
        self.process.send_signal(number)
        _, said = await asyncio.to_thread(self.process.communicate, None, 30)
        return self.process.returncode, said

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
