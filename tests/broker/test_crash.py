"""The broker as a process of its own, killed with -9 while events come in and go out."""

import asyncio
import json
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary

EVENTS = 600
PORTS = re.compile(r"events: port (\d+) .*admin: port (\d+)")


class BrokerProcess:
    """`python -m wayside.eventing.broker` on ports that the system chose."""

    def __init__(self, process: asyncio.subprocess.Process, port: str, admin_port: str) -> None:
        self.process = process
        self.url = Url.parse(f"http://127.0.0.1:{port}/default/default")
        self.triggers = Url.parse(f"http://127.0.0.1:{admin_port}/triggers")

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.communicate()


@asynccontextmanager
async def running(folder: Path, subscriber: str) -> AsyncIterator[BrokerProcess]:
    flags = ["--data", str(folder / "data"), "--manifest", str(folder / "manifest.yaml"), "--port", "0"]
    flags += ["--admin-port", "0", "--resolve", f"t={subscriber}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wayside.eventing.broker", *flags, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    ports = None
    async for line in process.stderr:
        ports = PORTS.search(line.decode())
        if ports is not None:
            break
    assert ports is not None
    broker = BrokerProcess(process, ports[1], ports[2])
    try:
        yield broker
    finally:
        await broker.kill()


async def send(client: HttpClient, broker: BrokerProcess, numbers: list[int], accepted: set[str]) -> None:
    """Post each event until one connection fails, which is when the broker was killed."""
    while numbers:
        number = numbers.pop()
        headers, body = encode_binary(CloudEvent(str(number), "/s", "t", b"%d" % number))
        try:
            response = await client.send(b"POST", broker.url, headers, body, timeout_s=10)
        except Unreachable:
            numbers.append(number)
            return
        assert response.status == 202
        accepted.add(str(number))


async def send_all(broker: BrokerProcess, numbers: list[int], accepted: set[str]) -> None:
    client = HttpClient()
    await asyncio.gather(*(send(client, broker, numbers, accepted) for _ in range(16)))
    await client.close()


async def view(broker: BrokerProcess) -> Any:
    client = HttpClient()
    response = await client.send(b"GET", broker.triggers, [], timeout_s=10)
    await client.close()
    return json.loads(response.body)


@pytest.mark.parametrize("kill_when", ["accepting", "delivering"])
async def test_what_was_accepted_is_delivered_though_the_broker_is_killed(
    workshop: Any, new_trigger: Any, until: Callable[..., Awaitable[None]], kill_when: str
) -> None:
    subscriber = await workshop.subscriber()
    flowing = asyncio.Event()

    async def answer(_: CloudEvent) -> Response:
        if kill_when == "delivering" and len(subscriber.events) > EVENTS // 3:
            await flowing.wait()
        return Response(200)

    subscriber.answer = answer
    (workshop.folder / "manifest.yaml").write_text(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n" + new_trigger("t")
    )
    numbers, accepted = list(range(EVENTS)), set[str]()
    async with running(workshop.folder, subscriber.url) as broker:
        sending = asyncio.create_task(send_all(broker, numbers, accepted))
        if kill_when == "accepting":
            await until(lambda: len(accepted) > EVENTS // 3)
        else:
            await until(lambda: len(subscriber.events) > EVENTS // 3)
        await broker.kill()
        await sending
    flowing.set()
    before = set(accepted)
    async with running(workshop.folder, subscriber.url) as broker:
        await send_all(broker, numbers, accepted)

        async def is_settled() -> bool:
            return not (await view(broker))["triggers"][0]["waiting"]

        await until(is_settled)
        counts = await view(broker)
    assert before
    assert before <= set(subscriber.ids)
    assert accepted == set(subscriber.ids) == {str(number) for number in range(EVENTS)}
    assert counts["events"] == EVENTS
    (trigger,) = counts["triggers"]
    assert (trigger["matched"], trigger["delivered"], trigger["dead_lettered"]) == (EVENTS, EVENTS, 0)
    assert intact(workshop.folder)


def intact(folder: Path) -> bool:
    connection = sqlite3.connect(folder / "data" / "broker.sqlite")
    (result,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return bool(result == "ok")
