"""Steady clients before a logger whose sink is killed, hung and revived: nobody notices, nothing is lost.

WAYSIDE_TEST_SOAK_S is how long the soak lasts: 60 in CI, a few seconds elsewhere; its two variants are
shorter.
"""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from soak_clients import Clients
from soak_stage import Arrived, Memory, Stage, soaking
from spool_stage import LoggerProcess

LENGTH_S = float(os.environ.get("WAYSIDE_TEST_SOAK_S") or 4.0)
P99_S = 0.5
RESIDENT_BYTES = 100 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def missing(clients: Clients, arrived: Arrived) -> list[tuple[str, str]]:
    """What was answered and did not arrive: (request id, request or response). What did is whole, and there once."""
    lost = []
    for request_id, (request_crc, response_crc) in clients.answered.items():
        expected = {("request", request_crc), ("response", response_crc)}
        found = arrived.by_request.get(request_id, [])
        assert len(found) == len(set(found)), request_id
        assert set(found) <= expected, request_id
        lost += [(request_id, kind) for kind, crc in expected - set(found)]
    return lost


async def soak(stage: Stage, logger: LoggerProcess, length_s: float, name: str = "soak") -> Clients:
    """Clients, and what is done to the sink, side by side; no client had an error or waited long."""
    clients = Clients(logger.port, name)
    async with Memory(logger.process.pid) as memory, asyncio.TaskGroup() as group:
        group.create_task(clients.run(length_s))
        group.create_task(stage.mistreat(length_s))
    assert clients.errors == []
    assert clients.p99_s < P99_S
    assert 0 < memory.peak_bytes < RESIDENT_BYTES
    print(
        f"{name}: {length_s:g} s, {len(clients.answered)} requests, p99 {1e3 * clients.p99_s:.1f} ms,"
        f" {memory.peak_bytes / 2**20:.0f} MiB resident"
    )
    return clients


def test_with_a_spool_every_event_arrives_and_no_client_notices(tmp_path: Path) -> None:
    async def run() -> None:
        async with soaking(tmp_path) as stage, stage.logger("--spool", str(tmp_path / "spool")) as logger:
            clients = await soak(stage, logger, LENGTH_S)
            seen = await stage.scrape_at_rest(logger)
            assert (
                seen["events_captured"]
                == seen["events_sent"] + seen["events_dropped"] + seen["memory_events"] + seen["spool_events"]
            )
            assert seen["events_dropped"] == 0
            status, said = await logger.end()
        assert status == 0
        assert "stopped with" not in said
        arrived = Arrived.read(stage.kept)
        assert missing(clients, arrived) == []
        assert len(arrived.copies) == seen["events_captured"]
        events, copies, spooled = len(arrived.copies), arrived.copies.total(), seen["spool_appended_events"]
        print(f"{events} events, {copies} copies, {spooled} spooled")

    asyncio.run(run())


def test_kill_9_costs_what_was_in_memory_and_no_more(tmp_path: Path) -> None:
    flags = ("--spool", str(tmp_path / "spool"))

    async def run() -> None:
        async with soaking(tmp_path) as stage:
            async with stage.logger(*flags) as logger:
                first, seen = await until_killed(stage, logger)
            async with stage.logger(*flags) as logger:
                second = await soak(stage, logger, LENGTH_S / 8, "second")
                after = await stage.scrape(logger)
                status, said = await logger.end()
        assert (status, after["events_dropped"]) == (0, 0)
        assert "stopped with" not in said
        arrived = Arrived.read(stage.kept)
        assert missing(second, arrived) == []
        lost = missing(first, arrived)
        assert len(lost) <= seen["memory_events"]
        in_memory, found = seen["memory_events"], after["spool_found_events"]
        print(f"killed with {in_memory} events in memory, {found} found: {len(lost)} lost")

    asyncio.run(run())


async def until_killed(stage: Stage, logger: LoggerProcess) -> tuple[Clients, dict[str, int]]:
    """Clients until the logger is killed, less what was not answered when its metrics were last read; and those."""
    clients = Clients(logger.port, "first")
    asking = asyncio.create_task(clients.run(3600.0))
    await stage.mistreat(LENGTH_S / 8)
    stage.sink.kill()
    await asyncio.sleep(LENGTH_S / 32)
    assert clients.errors == []
    answered = dict(clients.answered)
    seen = await stage.scrape(logger)
    status, _ = await logger.end(signal.SIGKILL)
    assert status == -signal.SIGKILL
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await stage.sink.start()
    clients.answered = answered
    return clients, seen


def test_without_a_spool_what_is_dropped_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with soaking(tmp_path) as stage, stage.logger("--queue-bytes", "256Ki", "--grace", "1") as logger:
            clients = await soak(stage, logger, LENGTH_S / 4)
            stage.sink.kill()
            more = Clients(logger.port, "unsent")
            await more.run(LENGTH_S / 16)
            seen = await stage.scrape_at_rest(logger)
            status, said = await logger.end()
        arrived = Arrived.read(stage.kept)
        assert status == 0
        assert seen["events_dropped"] > 0
        assert seen["events_captured"] == seen["events_sent"] + seen["events_dropped"] + seen["memory_events"]
        (unsent,) = re.findall(r"stopped with (\d+) events unsent; they are dropped\n\Z", said)
        assert int(unsent) == seen["memory_events"]
        # one that was kept and never said to be is a copy of one that was sent later, or was dropped after all
        assert len(arrived.copies) >= seen["events_sent"]
        lost = len(missing(clients, arrived)) + len(missing(more, arrived))
        assert lost <= seen["events_dropped"] + seen["memory_events"]
        print(f"{seen['events_captured']} events, {seen['events_dropped']} dropped, {unsent} unsent")

    asyncio.run(run())
