"""Events in files and on standard output: what was accepted is there, whatever becomes of the process or the reader."""

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emit_stage import an_event, emitting

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import read_events
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.event_folder import EventFolder, Rotation
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.emit.sender import SinkSender
from wayside.logger.emit.stdout_sink import StdoutSink
from wayside.logger.settings import Delivery


def ids_in(path: Path) -> list[int]:
    events = list(read_events(path.read_bytes()))
    assert all(isinstance(event, CloudEvent) for event in events)
    return [int(event.id) for event in events if isinstance(event, CloudEvent)]


async def test_events_are_in_a_file_that_has_its_final_name_after_the_stop(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "events"
    async with emitting(folder.as_uri(), grace_s=5) as stage:
        stage.offer(*map(an_event, range(100)), an_event(100, b'{"a":\n1}'))
        await stage.until(lambda: stage.sent == 101)
        (partial,) = folder.iterdir()
        assert partial.name.endswith(".jsonl.partial")
        assert ids_in(partial) == list(range(101))
    (whole,) = folder.iterdir()
    assert whole.name == partial.name.removesuffix(".partial")
    assert [event.data for event in read_events(whole.read_bytes()) if isinstance(event, CloudEvent)][
        -1
    ] == b'{"a":\n1}'


async def test_a_stop_without_events_leaves_no_file(tmp_path: Path) -> None:
    async with emitting(tmp_path.as_uri()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_closed_at_its_size_and_at_its_age(tmp_path: Path) -> None:
    now_s = [1e9]
    folder = EventFolder(tmp_path, Rotation(100, 60.0), lambda: now_s[0])
    folder.prepare()
    folder.append(b"x" * 99 + b"\n")
    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl"]
    folder.append(b"y\n")
    folder.close_when_due()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jsonl", ".partial"]
    now_s[0] += 60
    folder.close_when_due()
    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl", ".jsonl"]
    folder.close()


WRITER = (
    "import signal, sys; from pathlib import Path\n"
    "from wayside.logger.emit.event_folder import EventFolder, Rotation\n"
    "folder = EventFolder(Path(sys.argv[1]), Rotation())\n"
    "folder.append(b'one\\ntwo\\n'); print(flush=True); signal.pause()\n"
)


def test_a_file_that_a_killed_process_left_is_finished_and_one_of_a_live_process_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"\n"
        (partial,) = tmp_path.iterdir()
        with partial.open("ab") as file:
            file.write(b"hal")
        EventFolder(tmp_path, Rotation()).prepare()
        assert partial.read_bytes() == b"one\ntwo\nhal"
        writer.kill()
    EventFolder(tmp_path, Rotation()).prepare()
    (whole,) = tmp_path.iterdir()
    assert whole.suffix == ".jsonl"
    assert whole.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("left", [b"", b"half a line", b"x" * 100_000])
def test_a_file_without_a_whole_line_goes(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "events-1.jsonl.partial").write_bytes(left)
    EventFolder(tmp_path, Rotation()).prepare()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        async with emitting((tmp_path / "file").as_uri()):
            pass


def test_a_disk_that_fails_leaves_whole_lines(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that is full in the middle of a line."""
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from wayside.logger.emit.event_folder import EventFolder, Rotation\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "folder = EventFolder(Path(sys.argv[1]), Rotation())\n"
        "folder.append(b'x' * 599 + b'\\n')\n"
        "try: folder.append(b'y' * 599 + b'\\n')\n"
        "except OSError: print('failed')\n"
        "folder.append(b'z\\n'); folder.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.stdout == "failed\n", done.stderr
    (whole,) = tmp_path.iterdir()
    assert whole.read_bytes() == b"x" * 599 + b"\nz\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def to_pipe(descriptor: int) -> tuple[Emitter, LoggerCounts]:
    counts = LoggerCounts()
    sender = SinkSender(StdoutSink(descriptor), 1, BatchLimits(256))
    return Emitter(sender, Delivery(queue_bytes=1 << 20), counts), counts


async def test_a_reader_that_does_not_read_blocks_nothing_and_is_sent_what_waits_when_it_does(
    pipe: tuple[int, int],
) -> None:
    emitter, counts = to_pipe(pipe[1])
    await emitter.start()
    for number in range(100):
        emitter.offer(an_event(number, b"x" * 20_000))
        await asyncio.sleep(0)
    assert counts.dropped["request", "queue_full"] > 0
    taken = 100 - counts.dropped["request", "queue_full"]
    reading = asyncio.create_task(asyncio.to_thread(read_lines, pipe[0], taken))
    await emitter.stop(10)
    assert (await reading).count(b"\n") == taken == counts.sent["request"]


def read_lines(descriptor: int, count: int) -> bytes:
    said = b""
    while said.count(b"\n") < count:
        said += os.read(descriptor, 1 << 16)
    return said


def test_events_and_the_log_go_separate_ways_and_a_stuck_reader_holds_up_no_exit() -> None:
    program = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1])\n"
        "from emit_stage import an_event, emitting\n"
        "async def main():\n"
        "    async with emitting('stdout:', grace_s=0.2) as stage:\n"
        "        stage.offer(*map(an_event, range(2000)))\n"
        "asyncio.run(main())\n"
    )
    folder = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", program, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(20) == 0  # nobody has read a byte
        assert process.stdout is not None
        assert process.stderr is not None
        lines = process.stdout.read().split(b"\n")
        assert b"unsent" in process.stderr.read()
    assert b'"specversion": "1.0"' in lines[0]


async def test_a_pipe_that_does_not_block_and_is_full_is_waited_for_in_the_middle_of_a_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = StdoutSink(writing)
    await sink.start()
    sending = asyncio.create_task(sink.send_batch([an_event(number, b"x" * 50_000) for number in range(4)]))
    text = b""
    while text.count(b"\n") < 4:
        text += await asyncio.to_thread(os.read, reading, 1 << 20)
    await sending
    await sink.stop()
    os.close(reading)
    os.close(writing)
    assert [json.loads(line)["id"] for line in text.splitlines()] == ["0", "1", "2", "3"]


async def test_a_line_that_could_not_be_written_whole_does_not_spoil_the_next(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "out").open("wb") as file:
        sink = StdoutSink(file.fileno())
        await sink.start()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(SinkUnavailable):
                await sink.send_batch([an_event(1)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await sink.send_batch([an_event(2)])
        await sink.stop()
    torn, whole = (tmp_path / "out").read_bytes().splitlines()
    assert len(torn) == 100
    assert json.loads(whole)["id"] == "2"


def test_several_processes_may_tidy_up_one_folder_at_once(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"events-{number}.jsonl.partial").write_bytes(b"{}\n")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: EventFolder(tmp_path, Rotation()).prepare(), range(4)))
    assert len(list(tmp_path.glob("*.jsonl"))) == 200
