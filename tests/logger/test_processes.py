"""Several processes on one port: each one's part, the supervisor over them, and what happens when one or it dies."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logger_stage import HOST, EventSink, echo
from spool_stage import free_port

from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.logger import cli
from wayside.logger.emit.spool import FILE_NAME
from wayside.logger.processes.process_metrics import merged, registry_of
from wayside.logger.processes.share import left_over, share_of

PAGE = """# HELP a_total Words.
# TYPE a_total counter
a_total{kind="x"} 1.0
# HELP b_seconds Words.
# TYPE b_seconds histogram
b_seconds_bucket{le="1.0"} 2.0
b_seconds_bucket{le="+Inf"} 3.0
b_seconds_count 3.0
b_seconds_sum 4.5
"""


@given(st.integers(1, 64), st.integers(64, 1000), st.integers(64 << 10, 1 << 30))
def test_the_parts_are_no_more_than_the_whole(processes: int, events: int, size: int) -> None:
    argv = ["--log-url", "http://b/", "--spool", "/s", "--spool-limit", str(64 << 20), "--sample", "100/s"]
    argv += [f"--processes={processes}", f"--queue-events={events}", f"--queue-bytes={size}", "--workers=64"]
    whole = cli.parse([*argv, f"--capture-total={size}"], {})
    parts = [share_of(whole, place) for place in range(processes)]
    assert sum(part.delivery.queue_events for part in parts) <= events
    assert size - processes < sum(part.delivery.queue_bytes for part in parts) <= size
    assert sum(part.capture.total_bytes for part in parts) <= size
    assert sum(part.delivery.workers for part in parts) <= 64
    assert sum(part.delivery.spool.limit_bytes for part in parts if part.delivery.spool) <= 64 << 20
    assert sum(part.capture.sampling.per_second or 0 for part in parts) == pytest.approx(100)
    assert len({part.delivery.spool.folder for part in parts if part.delivery.spool}) == processes
    assert {(part.listen.port, part.listen.admin_host, part.listen.admin_port) for part in parts} == {
        (9081, "127.0.0.1", 0)
    }


@pytest.mark.parametrize(
    ("found", "processes", "left"),
    [
        ([], 1, []),
        ([], 4, []),
        (["."], 1, []),
        (["."], 2, ["."]),
        (["0", "1", "2"], 2, ["2"]),
        (["0", "1"], 1, ["0", "1"]),
        ([".", "0", "3", "other"], 3, [".", "3"]),
    ],
)
def test_what_another_number_of_processes_left(
    tmp_path: Path, found: list[str], processes: int, left: list[str]
) -> None:
    for name in found:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / FILE_NAME).touch()
    (tmp_path / "9").mkdir()  # without a journal
    assert left_over(tmp_path, processes, FILE_NAME) == [tmp_path / name for name in left]
    assert left_over(tmp_path / "nowhere", processes, FILE_NAME) == []


def test_pages_of_metrics_become_one() -> None:
    families = {family.name: family for family in merged({0: PAGE, 1: PAGE.replace("1.0\n", "7.0\n")})}
    assert [(sample.labels, sample.value) for sample in families["a"].samples] == [
        ({"kind": "x", "process": "0"}, 1.0),
        ({"kind": "x", "process": "1"}, 7.0),
    ]
    assert len(families["b_seconds"].samples) == 8
    assert len(list(registry_of({}, families.values()).collect())) == 2


class Several:
    """A supervisor in a process of its own, before a model, with a place that events go to."""

    def __init__(self, model_port: int, sink_port: int) -> None:
        self.port, self.admin = free_port(), free_port()
        self.client = HttpClient()
        self._argv = ["--log-url", f"http://{HOST}:{sink_port}/", "--component-port", str(model_port)]
        self._argv += ["--port", str(self.port), "--admin-port", str(self.admin), "--quiet-period", "0"]
        self.process: asyncio.subprocess.Process

    async def start(self, *flags: str, processes: int = 2) -> None:
        argv = [*self._argv, *flags, f"--processes={processes}"]
        self.process = await asyncio.create_subprocess_exec(sys.executable, "-m", "wayside.logger", *argv)
        await self.until(self.is_ready)

    async def is_ready(self) -> bool:
        try:
            url = Url.parse(f"http://{HOST}:{self.admin}/readyz")
            return (await self.client.send(b"GET", url, [], timeout_s=2)).status == 200
        except Unreachable:
            return False

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while True:
                found = holds()
                if (await found) if asyncio.iscoroutine(found) else found:
                    return
                await asyncio.sleep(0.02)

    async def infer(self, count: int) -> None:
        """So many requests, each over a connection of its own, so that the kernel deals them out."""
        url = Url.parse(f"http://{HOST}:{self.port}/v1/models/m:predict")
        for _ in range(count):
            answer = await self.client.send(b"POST", url, [(b"connection", b"close")], b"{}", timeout_s=5)
            assert answer.status == 200

    async def metrics(self, name: str) -> dict[str, float]:
        """A metric's value by process, summed over its other labels."""
        url = Url.parse(f"http://{HOST}:{self.admin}/metrics")
        page = (await self.client.send(b"GET", url, [], timeout_s=5)).body.decode()
        found: dict[str, float] = {}
        for labels, value in re.findall(rf"(?m)^{name}{{(.*)}} (.*)$", page):
            place = re.findall(r'process="(\d+)"', labels)[0]
            found[place] = found.get(place, 0.0) + float(value)
        return found

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 20)

    async def close(self) -> None:
        if self.process.returncode is None:
            await self.end()
        await self.client.close()


@pytest.fixture
async def sink() -> AsyncIterator[tuple[EventSink, int]]:
    made = EventSink()
    made.free.set()
    server = HttpServer(made.answer, HOST, 0)
    await server.start()
    yield made, server.port
    await server.stop()


@pytest.fixture
async def several(sink: tuple[EventSink, int]) -> AsyncIterator[Several]:
    model = HttpServer(echo, HOST, 0)
    await model.start()
    made = Several(model.port, sink[1])
    yield made
    await made.close()
    await model.stop()


async def test_they_share_the_port_and_show_as_one(several: Several, sink: tuple[EventSink, int]) -> None:
    await several.start()
    await several.infer(40)
    await sink[0].wait_for(80)
    captured = await several.metrics("wayside_logger_events_captured_total")
    assert sum(captured.values()) == 80
    assert set(captured) == {"0", "1"}
    pids = several.children()
    assert await several.end() == 0
    assert not any(is_running(pid) for pid in pids)


async def test_one_that_dies_is_replaced_and_counted(several: Several, sink: tuple[EventSink, int]) -> None:
    await several.start()
    before = several.children()
    os.kill(before[0], signal.SIGKILL)
    await several.until(lambda: len(several.children()) == 2 and before[0] not in several.children())
    await several.until(lambda: serves_all(several))
    await several.infer(20)
    await sink[0].wait_for(40)
    assert sum((await several.metrics("wayside_logger_process_restarts_total")).values()) == 1


async def serves_all(several: Several) -> bool:
    return len(await several.metrics("wayside_logger_events_captured_total")) == 2


async def test_they_end_with_a_supervisor_that_is_killed(several: Several) -> None:
    await several.start()
    pids = several.children()
    several.process.kill()
    await several.process.wait()
    await several.until(lambda: not any(is_running(pid) for pid in pids))


async def test_a_port_in_use_ends_it_with_2() -> None:
    taken = HttpServer(echo, HOST, 0)
    await taken.start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wayside.logger", "--processes=2", f"--host={HOST}", f"--port={taken.port}"),
        "--admin-port=0",
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    await taken.stop()
    assert process.returncode == 2
    assert f"cannot listen on {HOST}:{taken.port}" in said.decode()


async def test_a_changed_number_strands_no_spool(several: Several, sink: tuple[EventSink, int], tmp_path: Path) -> None:
    away = f"--log-url=http://{HOST}:{free_port()}/"
    await several.start("--spool", str(tmp_path), "--grace", "1", away, processes=2)
    await several.infer(20)
    await several.until(lambda: has_spooled(several, 40))
    assert await several.end() == 0
    assert {path.name for path in tmp_path.iterdir() if (path / FILE_NAME).is_file()} == {"0", "1"}
    await several.start("--spool", str(tmp_path), processes=1)
    await sink[0].wait_for(40)
    assert len({(event.type, event.id) for event in sink[0].events}) == 40


async def has_spooled(several: Several, count: int) -> bool:
    """A counter without labels of its own has `process` alone."""
    return sum((await several.metrics("wayside_logger_spool_appended_events_total")).values()) == count


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
