"""The soak's stage: real processes around a real logger, what is done to the sink, and what is measured meanwhile.

Invariant: every process that is started is ended, whatever a test does; the sink is well again when `mistreat` returns.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from soak_sink import Mood
from spool_stage import HOST, LoggerProcess, free_port

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.url import Url

FOLDER = Path(__file__).parent
_FAULTS = 5
_UNITS_A_ROUND = 3 * _FAULTS  # each fault lasts two, and is followed by one that is calm
_ROUND_S = 15.0
_SAMPLE_S = 0.2
_SEND_TIMEOUT_S = 0.4  # less than a fault lasts, in the short form too
_PREFIX = "wayside_logger_"


async def _listening(port: int) -> None:
    """Wait until somebody listens at a port."""
    async with asyncio.timeout(20):
        while True:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return
            await asyncio.sleep(0.02)


@dataclass
class Script:
    """A script of this folder as a process at a port of its own."""

    name: str
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    async def start(self) -> Self:
        command = [sys.executable, str(FOLDER / self.name), str(self.port), *self.arguments]
        self.process = subprocess.Popen(command)
        await _listening(self.port)
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would; nothing where it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the sink kept: CRC-32 of each event's data by (source, id, type), and (type, CRC-32) by request id."""

    copies: Counter[tuple[str, str, str]]
    by_request: dict[str, list[tuple[str, int]]]

    @classmethod
    def read(cls, path: Path) -> Self:
        copies: Counter[tuple[str, str, str]] = Counter()
        by_request: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for line in path.read_text().splitlines():
            kept = json.loads(line)
            source, event_id, kind = kept["key"]
            if not copies[source, event_id, kind]:
                by_request[kept["request_id"]].append((kind.rpartition(".")[2], kept["crc"]))
            copies[source, event_id, kind] += 1
        return cls(copies, by_request)


@dataclass
class Stage:
    """A model server and a sink that run, and where the sink keeps what it takes."""

    model: Script
    sink: Script
    kept: Path
    client: HttpClient = field(default_factory=HttpClient)

    @asynccontextmanager
    async def logger(self, *flags: str) -> AsyncIterator[LoggerProcess]:
        """A logger that is ready."""
        running = LoggerProcess(self.model.port, self.sink.port, "--send-timeout", str(_SEND_TIMEOUT_S), *flags)
        try:
            await running.wait_ready(self.client)
            yield running
        finally:
            running.kill()

    async def scrape(self, logger: LoggerProcess) -> Counter[str]:
        """One moment of the logger's metrics, each summed over its labels, without prefix and `_total`."""
        url = Url.parse(f"http://{HOST}:{logger.admin_port}/metrics")
        text = (await self.client.send(b"GET", url, [], timeout_s=5)).body.decode()
        sums: Counter[str] = Counter()
        for line in text.splitlines():
            if line.startswith(_PREFIX):
                name, value = line.rsplit(" ", 1)
                sums[name.partition("{")[0].removeprefix(_PREFIX).removesuffix("_total")] += int(float(value))
        return sums

    async def scrape_at_rest(self, logger: LoggerProcess) -> Counter[str]:
        """As `scrape`, once nothing more is captured: a model may still answer a client that left."""
        before, seen = Counter[str](), await self.scrape(logger)
        while before["events_captured"] != seen["events_captured"]:
            await asyncio.sleep(_SAMPLE_S)
            before, seen = seen, await self.scrape(logger)
        return seen

    async def be(self, mood: Mood) -> None:
        url = Url.parse(f"http://{HOST}:{self.sink.port}/be/{mood}")
        assert (await self.client.send(b"POST", url, [], timeout_s=5)).status == 204

    async def mistreat(self, length_s: float) -> None:
        """Round after round: the sink is killed, stopped, silent, busy and slow, and well again after each."""
        rounds = max(1, round(length_s / _ROUND_S))
        unit_s = length_s / rounds / _UNITS_A_ROUND
        for _ in range(rounds):
            self.sink.kill()
            await asyncio.sleep(2 * unit_s)
            await self.sink.start()
            await asyncio.sleep(unit_s)
            self.sink.signal(signal.SIGSTOP)
            await asyncio.sleep(2 * unit_s)
            self.sink.signal(signal.SIGCONT)
            await asyncio.sleep(unit_s)
            for mood in (Mood.SILENT, Mood.BUSY, Mood.SLOW):
                await self.be(mood)
                await asyncio.sleep(2 * unit_s)
                await self.be(Mood.TAKING)
                await asyncio.sleep(unit_s)


@asynccontextmanager
async def soaking(folder: Path) -> AsyncIterator[Stage]:
    """A model server and a sink, before any logger."""
    kept = folder / "kept.jsonl"
    stage = Stage(Script("soak_model.py"), Script("soak_sink.py", (str(kept),)), kept)
    try:
        await stage.model.start()
        await stage.sink.start()
        yield stage
    finally:
        await stage.client.close()
        stage.model.kill()
        stage.sink.kill()


class Memory:
    """The most that a process had resident, in bytes, sampled while a block runs."""

    def __init__(self, process: int) -> None:
        self._status = Path(f"/proc/{process}/status")
        self.peak_bytes = 0
        self._sampling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._sampling is not None
        self._sampling.cancel()
        with suppress(asyncio.CancelledError):
            await self._sampling

    async def _sample(self) -> None:
        while True:
            lines = dict(line.split(":", 1) for line in self._status.read_text().splitlines())
            self.peak_bytes = max(self.peak_bytes, int(lines["VmRSS"].split()[0]) << 10)
            await asyncio.sleep(_SAMPLE_S)
