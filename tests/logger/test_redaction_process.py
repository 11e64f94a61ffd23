"""The second process in earnest: events through it in order, and every way in which it, or the logger, may end."""

import asyncio
import gzip
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redaction_stage import JSON, KEY

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.encoding import inflate
from wayside.eventing.payloads.payload import Limits
from wayside.eventing.vocabulary import CONTENT_ENCODING, METADATA, REDACTION, REQUEST, RESPONSE
from wayside.logger.counts import LoggerCounts
from wayside.logger.redaction.memory import MemoryBounds, bounds_within
from wayside.logger.redaction.redactor import WITHHELD
from wayside.logger.redaction.rules import parse_rule
from wayside.logger.redaction.side_process import FAILED, FULL, SHUTDOWN, SideProcess
from wayside.logger.settings import Redacted as Left
from wayside.logger.settings import RedactionRule, SideWork, Target

_SECRET = "078-05-1120"
_MASKS = SideWork((parse_rule("column:ssn=mask"),))


def an_event(number: int, size_bytes: int = 0) -> CloudEvent:
    body = {"number": number, "fill": [1.5] * (size_bytes // 5), "ssn": _SECRET}
    kind = RESPONSE if number % 2 else REQUEST
    return CloudEvent(str(number), "pod", kind, json.dumps(body).encode(), None, JSON, extensions={METADATA: "{}"})


class Aside:
    """A side process between a source that counts and an outlet that keeps; the balance is held at every look."""

    def __init__(self, side_work: SideWork, deadline_s: float, memory: MemoryBounds | None) -> None:
        self.counts = LoggerCounts()
        self.events: list[CloudEvent] = []
        self.offered = 0
        self.side = SideProcess(side_work, self, self.counts, deadline_s=deadline_s, memory=memory)

    def offer(self, event: CloudEvent) -> None:
        """What comes out of the process."""
        assert _SECRET.encode() not in event.data
        self.events.append(event)

    def put(self, event: CloudEvent) -> None:
        self.offered += 1
        self.side.offer(event)
        self.assert_balance()

    def assert_balance(self) -> None:
        assert self.offered == len(self.events) + self.counts.dropped.total() + self.side.in_hand

    @property
    def ids(self) -> list[int]:
        return [int(event.id) for event in self.events]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.assert_balance()
                await asyncio.sleep(0.002)
        self.assert_balance()

    async def pid(self, other_than: int | None = None) -> int:
        await self.until(lambda: self.side.pid not in (None, other_than))
        assert self.side.pid is not None
        return self.side.pid


@asynccontextmanager
async def aside(
    side_work: SideWork = _MASKS, deadline_s: float = 30.0, memory: MemoryBounds | None = None
) -> AsyncIterator[Aside]:
    made = Aside(side_work, deadline_s, memory)
    await made.side.start()
    try:
        yield made
    finally:
        async with asyncio.timeout(20):
            await made.side.stop()
        made.assert_balance()
        assert made.side.in_hand == made.side.in_hand_bytes == 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_events_come_out_redacted_in_their_order() -> None:
    async with aside() as made:
        sizes = [0, 200_000, 0, 0, 70_000, *[100] * 500]
        for number, size_bytes in enumerate(sizes):
            made.put(an_event(number, size_bytes))
        made.put(CloudEvent("505", "pod", REQUEST, b"{broken " + _SECRET.encode(), None, JSON))
        await made.until(lambda: not made.side.in_hand)
        assert made.ids == list(range(506))
        assert json.loads(made.events[1].data)["ssn"] == "***"
        assert (made.events[-1].data, made.events[-1].extensions[REDACTION]) == (b"", WITHHELD)
        assert (made.side.applied, made.side.withheld) == (505, 1)


async def test_attributes_and_data_of_any_kind_survive() -> None:
    event = CloudEvent(
        *(
            "é\x01",
            "s p",
            RESPONSE,
            bytes(range(256)) * 300,
            "2026-01-01T00:00:00Z",
            "image/png",
            "urn:é",
            "\U0001f600",
        ),
        extensions={METADATA: '{"A":["\\u0001"]}', "empty": ""},
    )
    async with aside(SideWork(compress=True)) as made:
        made.put(event)
        await made.until(lambda: bool(made.events))
    (out,) = made.events
    assert out.with_extensions(contentencoding=None).extensions == event.extensions
    assert (out.id, out.source, out.subject, out.dataschema, out.time) == (
        *(event.id, event.source, event.subject, event.dataschema, event.time),
    )
    assert inflate(out.data, out.extensions["contentencoding"], Limits()) == event.data


async def test_what_is_redacted_is_then_compressed() -> None:
    async with aside(SideWork(_MASKS.rules, compress=True)) as made:
        made.put(an_event(0, 10_000))
        await made.until(lambda: bool(made.events))
    body = json.loads(inflate(made.events[0].data, "gzip", Limits()))
    assert (body["ssn"], len(body["fill"])) == ("***", 2000)


@pytest.mark.parametrize(
    ("side_work", "words"),
    [
        (SideWork((parse_rule("column:a=hash"),)), "--redact-key-file"),
        (SideWork((parse_rule("column:a=hash"),), Path("/nowhere/key")), "cannot read"),
        (SideWork((RedactionRule(Target.POINTER, "a", Left.DROP),)), "begins with"),
    ],
)
async def test_what_cannot_work_is_refused_at_start(side_work: SideWork, words: str) -> None:
    made = Aside(side_work, 30.0, None)
    with pytest.raises(ConfigurationError, match=words):
        await made.side.start()
    await made.side.stop()


async def test_the_process_is_nice_and_its_key_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    async with aside(SideWork((parse_rule("column:ssn=hash"),), tmp_path / "key")) as made:
        seen = Path(f"/proc/{await made.pid()}")
        assert KEY not in (seen / "cmdline").read_bytes() + (seen / "environ").read_bytes()
        assert os.getpriority(os.PRIO_PROCESS, await made.pid()) == 10
        made.put(an_event(0))
        await made.until(lambda: bool(made.events))


def peak_bytes(pid: int) -> int:
    (peak,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(peak.split()[1]) << 10


async def test_the_kernel_ends_the_process_before_the_one_that_serves() -> None:
    async with aside() as made:
        assert Path(f"/proc/{await made.pid()}/oom_score_adj").read_text() == "1000\n"


@pytest.mark.parametrize("lists", [2_300_000, 3_000_000])
async def test_what_takes_more_than_half_of_the_container_is_withheld(lists: int, tmp_path: Path) -> None:
    """Empty lists take some thirty times their text: the first are too much to read, the second to inflate."""
    (tmp_path / "memory.max").write_text(f"{256 << 20}\n")
    bomb = gzip.compress(b'{"instances":[[]' + b",[]" * lists + b"]}", mtime=0)
    large = CloudEvent("0", "pod", REQUEST, bomb, None, JSON, extensions={CONTENT_ENCODING: "gzip"})
    async with aside(memory=bounds_within((tmp_path / "absent", tmp_path / "memory.max"))) as made:
        pid = await made.pid()
        made.put(large)
        made.put(an_event(1, 1_000_000))
        await made.until(lambda: not made.side.in_hand)
        assert (made.events[0].data, made.events[0].extensions[REDACTION]) == (b"", WITHHELD)
        assert json.loads(made.events[1].data)["ssn"] == "***"
        assert made.side.pid == pid
        assert peak_bytes(pid) < 128 << 20


@pytest.mark.parametrize(
    ("text", "process_mib", "inflated_mib"),
    [
        (None, 768, 32),
        ("max\n", 768, 32),
        ("9223372036854771712\n", 768, 32),  # v1's word for no limit
        (f"{1 << 30}\n", 512, 32),
        (f"{512 << 20}\n", 256, 16),
        (f"{256 << 20}\n", 128, 8),
        (f"{32 << 20}\n", 64, 4),
    ],
)
def test_the_container_bounds_the_process(
    text: str | None, process_mib: int, inflated_mib: int, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    assert bounds_within([tmp_path / "memory.max"]) == (process_mib << 20, inflated_mib << 20)


@pytest.mark.parametrize(("processes", "process_mib"), [(1, 512), (2, 256), (4, 128), (100, 64)])
def test_several_processes_share_the_half_of_the_container(processes: int, process_mib: int, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{1 << 30}")
    assert bounds_within([tmp_path / "memory.max"], processes).process_bytes == process_mib << 20


@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGSEGV])
async def test_what_a_dead_process_had_is_dropped_and_the_rest_goes_through_another(ends: signal.Signals) -> None:
    async with aside() as made:
        pid = await made.pid()
        os.kill(pid, signal.SIGSTOP)
        for number in range(10):
            made.put(an_event(number, 200_000))
        await made.until(lambda: made.side.in_hand == 10)
        os.kill(pid, ends)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        await made.until(lambda: not made.side.in_hand)
        lost = made.counts.dropped.total()
        assert 1 <= lost < 10
        assert made.ids == list(range(lost, 10))
        assert sorted(made.counts.dropped) in ([("request", FAILED)], [("request", FAILED), ("response", FAILED)])
        assert await made.pid() != pid


async def test_a_process_that_dies_again_and_again_loses_events_one_batch_at_a_time() -> None:
    async with aside() as made:
        pid = None
        for _ in range(3):
            for number in range(50):
                made.put(an_event(number, 1000))
            pid = await made.pid(other_than=pid)
            os.kill(pid, signal.SIGKILL)
        await made.until(lambda: not made.side.in_hand)


async def test_a_process_that_dies_idle_is_started_again() -> None:
    async with aside() as made:
        pid = await made.pid()
        os.kill(pid, signal.SIGKILL)
        await made.pid(other_than=pid)
        made.put(an_event(1))
        await made.until(lambda: made.ids == [1])


async def test_a_process_that_hangs_is_killed_after_the_deadline() -> None:
    async with aside(deadline_s=0.5) as made:
        pid = await made.pid()
        os.kill(pid, signal.SIGSTOP)
        made.put(an_event(0))
        await made.until(lambda: made.counts.dropped == {("request", FAILED): 1})
        assert not is_running(pid)
        made.put(an_event(1))
        await made.until(lambda: made.ids == [1])


async def test_signals_to_stop_are_the_loggers_to_act_on() -> None:
    async with aside() as made:
        pid = await made.pid()
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        made.put(an_event(0))
        await made.until(lambda: made.ids == [0])
        assert await made.pid() == pid
    assert not is_running(pid)


async def test_what_has_no_room_is_dropped_and_counted() -> None:
    async with aside(SideWork(_MASKS.rules, in_hand_bytes=10_000)) as made:
        for number in range(8):
            made.put(an_event(number, 1000))
        made.put(an_event(8, 20_000))
        assert made.side.in_hand_bytes <= 10_000
        assert {reason for _, reason in made.counts.dropped} == {FULL}
        await made.until(lambda: not made.side.in_hand)
        assert made.side.in_hand_bytes == 0
        made.put(an_event(9, 1000))
        await made.until(lambda: made.ids[-1] == 9)


async def test_a_stop_finishes_what_is_in_hand() -> None:
    async with aside() as made:
        for number in range(200):
            made.put(an_event(number, 1000))
        await made.side.stop(10)
        assert made.ids == list(range(200))
        made.put(an_event(200))
        assert made.counts.dropped == {("request", SHUTDOWN): 1}


async def test_a_stop_whose_time_is_over_drops_and_counts_the_rest() -> None:
    async with aside() as made:
        os.kill(await made.pid(), signal.SIGSTOP)
        for number in range(4):
            made.put(an_event(number, 200_000))
        await made.side.stop(0.05)
        assert made.counts.dropped == {("request", SHUTDOWN): 2, ("response", SHUTDOWN): 2}
        assert not made.events


async def test_a_stop_before_the_start_drops_what_came() -> None:
    made = Aside(_MASKS, 30.0, None)
    made.put(an_event(0))
    await made.side.stop(1)
    await made.side.stop(1)
    assert made.counts.dropped == {("request", SHUTDOWN): 1}


_LOGGER = """
import asyncio
from wayside.logger.counts import LoggerCounts
from wayside.logger.redaction.rules import parse_rule
from wayside.logger.redaction.side_process import SideProcess
from wayside.logger.settings import SideWork
async def main():
    side = SideProcess(SideWork((parse_rule("column:a=drop"),)), None, LoggerCounts())
    await side.start()
    while side.pid is None:
        await asyncio.sleep(0.01)
    print(side.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_logger_that_is_killed_leaves_no_process_behind() -> None:
    logger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LOGGER, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert logger.stdout is not None
    async with asyncio.timeout(20):
        pid = int(await logger.stdout.readline())
        logger.kill()
        await logger.communicate()
        while is_running(pid):
            await asyncio.sleep(0.01)
