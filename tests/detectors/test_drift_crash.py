"""A drift service killed with -9 in mid-window, many times: the verdicts and alerts of an undisturbed run, byte for
byte, with keys that are given up and rows that come late on the way."""

import asyncio
import os
import random
import signal
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import WindowLimits
from wayside.eventing import json_format
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http_binding import decode, encode_binary

from .conftest import DriftTerms, at, drift_in, later, normal_rows, request_event, wait_until
from .killable import Killable

KILLS = int(os.environ.get("WAYSIDE_TEST_KILLS", "3"))
SEED = int(os.environ.get("WAYSIDE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
EVENTS = 240
LIMITS = WindowLimits(keys=3, idle_s=60.0)
FLAGS = ("--keys", "3", "--idle-after", "60")
SERVER = Path(__file__).with_name("drift_crash_server.py")


def traffic() -> list[CloudEvent]:
    """Bursts of a few of six keys, which the limits hold three of; some rows late, some shifted, long pauses."""
    dice, second, events = random.Random(SEED), 0.0, []
    for n in range(EVENTS):
        second += 200 if n % 60 == 59 else dice.random()
        moment = second - 30 if dice.random() < 0.06 else second - dice.random()
        rows = normal_rows(1 + n % 23, SEED + n) + (1.5 if 70 < n < 100 else 0.0)
        key = f"p{(n // 40 + dice.randrange(4)) % 6}" if n % 12 == 0 else f"p{n // 40 % 2}"
        events.append(request_event(rows, f"e{n}", at(max(0.0, moment)), endpoint=key))
    return [*events, *(later(second + 4, event_id=f"end {key}", endpoint=f"p{key}") for key in range(2))]


@dataclass
class Posted:
    """What the verdicts' sink was sent, by id; each may come more than once, as the same bytes."""

    bodies: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    url: str = ""


@asynccontextmanager
async def posted_to() -> AsyncIterator[Posted]:
    posted = Posted()

    async def take(request: Request) -> Response:
        event = decode(request.headers, request.body)
        posted.bodies[event.id].add(json_format.encode(event))
        return Response(202)

    server = HttpServer(take, "127.0.0.1", 0)
    await server.start()
    posted.url = f"http://127.0.0.1:{server.port}/"
    try:
        yield posted
    finally:
        await server.stop(1.0)


async def send_all(events: list[CloudEvent], service: Killable, sent: list[str]) -> None:
    """One after another, each until it is answered, and now and then once more."""
    client, dice = HttpClient(), random.Random(SEED + 2)
    for event in events:
        headers, body = encode_binary(event)
        answers, wanted = 0, 2 if dice.random() < 0.1 else 1
        while answers < wanted:
            try:
                if service.url is None:
                    raise Unreachable("killed")
                response = await client.send(b"POST", service.url, headers, body, timeout_s=10)
            except Unreachable:
                await asyncio.sleep(0.002)
                continue
            assert response.status == 202
            answers += 1
        sent.append(event.id)
    await client.close()


async def kill_often(service: Killable, sending: "asyncio.Task[None]", sent: list[str]) -> int:
    """Kill at random moments, spread over the events; returns how often."""
    kills, dice = 0, random.Random(SEED + 1)
    while kills < KILLS and not sending.done():
        due = EVENTS * (kills + dice.random()) / (KILLS + 1)
        while len(sent) < due and not sending.done():
            await asyncio.sleep(0.001)
        await asyncio.sleep(dice.random() * 0.01)
        await service.end()
        kills += 1
        await service.start()
    return kills


def left(folder: Path) -> tuple[object, ...]:
    """What the store holds in the end: nothing to post, the accounts of keys, rows that windows are open on."""
    with closing(sqlite3.connect(folder / "drift.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        account = connection.execute("SELECT account FROM gone").fetchall()
        stories = connection.execute("SELECT key, story FROM series ORDER BY key").fetchall()
        identities = connection.execute("SELECT count(*) FROM taken").fetchone()
        return account, stories, identities, connection.execute("SELECT count(*) FROM outbox").fetchone()


async def test_killed_often_it_says_what_it_would_have_said(ks: Artifact, ks_folder: Path, tmp_path: Path) -> None:
    print("WAYSIDE_TEST_SEED", SEED)
    events, sent = traffic(), []
    async with drift_in(tmp_path / "calm", ks, terms=DriftTerms(LIMITS)) as calm:
        assert set(await calm.take(*events)) == {"scored"}
        await wait_until(lambda: calm.service.view()["judging"] == 0 == calm.view()[3])
        expected = {event.id: {json_format.encode(event)} for event in calm.sink.events}
        account = calm.service.view()["gone"]
        late = account["late"] + sum(key["late"] for key in calm.keys.values())
    assert (account["keys"] > 5, late > 5, len(expected) > 20) == (True, True, True), "the traffic has all of it"
    async with posted_to() as posted:
        flags = ("--data", str(tmp_path / "killed"), "--sink-url", posted.url, *FLAGS)
        service = await Killable.launch(SERVER, str(ks_folder), *flags)
        await service.start()
        sending = asyncio.create_task(send_all(events, service, sent))
        try:
            kills = await kill_often(service, sending, sent)
            await sending
            await wait_until(lambda: posted.bodies.keys() >= expected.keys() and left(tmp_path / "killed")[-1] == (0,))
            await service.end(signal.SIGTERM)
        finally:
            await service.close()
    assert kills == KILLS
    assert posted.bodies == expected
    assert left(tmp_path / "killed") == left(tmp_path / "calm")
