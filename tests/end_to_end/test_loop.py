"""The whole loop, each part a process: the balance holds exactly, whatever is killed on the way."""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from wayside.eventing.http.url import Url
from wayside.local.balance import Balance
from wayside.local.composition import LOOPBACK
from wayside.local.demo.digits import DigitStream
from wayside.local.demo.ledger import LedgerReader
from wayside.sinks.embedded.reader import RecordReader

if TYPE_CHECKING:
    from .conftest import Loop

ROWS = 2_400
pytestmark = pytest.mark.model_server


async def kill_when(loop: "Loop", name: str, rows: list[int], moments: Sequence[int]) -> None:
    """kill -9 a process each time so many rows were answered, and wait until the supervisor has it back."""
    for at_rows in moments:
        while sum(rows) < at_rows:
            await asyncio.sleep(0.02)
        pid = loop.supervisor.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while loop.supervisor.pid(name) in (None, pid):
            await asyncio.sleep(0.02)
        await loop.supervisor.wait_ready(name)


async def ask_badly(loop: "Loop") -> int:
    """A request of the right shape for a row that the model refuses; returns the status that it answered."""
    url = Url.parse(f"http://{LOOPBACK}:{loop.ports['logger']}/v1/models/digits:predict")
    body = json.dumps({"instances": [[float("nan")] * 64]}).encode()
    response = await loop.http.send(b"POST", url, [(b"content-type", b"application/json")], body, timeout_s=10)
    return response.status


def assert_same_rows(loop: "Loop") -> None:
    """Record by record: the rows that the client saw answered are the rows recorded, no other and none twice."""
    assert loop.prepared.composition.ledger is not None
    with closing(LedgerReader(loop.prepared.composition.ledger)) as ledger:
        answered = set(ledger.answered())
    with closing(RecordReader(loop.prepared.composition.records_file)) as records:
        recorded = list(records.answered_request_ids())
    assert len(recorded) == len(set(recorded))
    assert set(recorded) == answered


async def send_while_killing(loop: "Loop", kills: Sequence[tuple[str, int]]) -> Balance:
    """Send all rows, killing each process once so many were answered; the balance when everything has settled."""
    rows: list[int] = []
    await loop.ledger.begin_phase("all", "everything", "fault")
    async with asyncio.TaskGroup() as group:
        for name in {name for name, _ in kills}:
            group.create_task(kill_when(loop, name, rows, [at_rows for each, at_rows in kills if each == name]))
        await loop.traffic.run("all", DigitStream.ordinary, ROWS, on_answer=lambda answer: rows.append(answer.rows))
    assert await ask_badly(loop) == 400
    await loop.ledger.end_phase("all")
    assert await loop.readings.wait_settled(60)
    assert loop.prepared.composition.ledger is not None
    with closing(LedgerReader(loop.prepared.composition.ledger)) as ledger:
        return await loop.readings.balance(ledger.answered_rows())


def assert_balanced(loop: "Loop", balance: Balance) -> None:
    """Nothing lost and nothing twice, the bad request apart."""
    assert list(balance.differences()) == []
    assert balance.answered == ROWS
    assert balance.unanswered == 1
    assert balance.in_windows % 200 == 0
    assert balance.in_windows >= ROWS // 2, "but for the last window, and two seconds of traffic behind the watermark"
    assert balance.conflicts == 0
    assert_same_rows(loop)


async def test_the_balance_holds_while_broker_and_detectors_are_killed(loop: "Loop") -> None:
    kills = (("broker", 500), ("outlier", 1_000), ("drift", 1_400), ("broker", 1_800))
    assert_balanced(loop, await send_while_killing(loop, kills))
    assert [loop.supervisor.restarts(name) for name in ("broker", "outlier", "drift", "records")] == [2, 1, 1, 0]


async def test_over_kafka_the_balance_holds_and_elasticsearch_has_the_same_records(loop_on_services: "Loop") -> None:
    killed = ("outlier", "elasticsearch", "drift", "records")
    kills = [(name, 400 * (number + 1)) for number, name in enumerate(killed)]
    balance = await send_while_killing(loop_on_services, kills)
    assert_balanced(loop_on_services, balance)
    assert [loop_on_services.supervisor.restarts(name) for name in killed] == [1, 1, 1, 1]
    assert [trigger.name.rpartition("-")[2] for trigger in balance.triggers] == [
        *("outlier", "drift", "records", "prometheus", "elasticsearch"),
    ]
    assert [(replica.records, replica.equal) for replica in balance.replicas] == [(ROWS + 1, True)]
