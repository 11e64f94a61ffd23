"""A stateful detector killed with -9 at random under load: one verdict an event, those of an undisturbed run."""

import asyncio
import os
import random
import signal
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.stateful import open_stateful
from wayside.eventing import json_format
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http_binding import decode, encode_binary

from .conftest import normal_rows, request_event
from .killable import Killable

KILLS = int(os.environ.get("WAYSIDE_TEST_STATEFUL_KILLS", "12"))
SEED = int(os.environ.get("WAYSIDE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
EVENTS, SENDERS = 600, 6
SERVER = Path(__file__).with_name("stateful_crash_server.py")


async def send_all(events: list[CloudEvent], service: Killable, answered: dict[str, list[bytes]]) -> None:
    """Post each until it is answered, and now and then once more."""
    waiting, dice = list(reversed(events)), random.Random(SEED)

    async def send_some(client: HttpClient) -> None:
        while waiting:
            event = waiting.pop()
            headers, body = encode_binary(event)
            try:
                if service.url is None:
                    raise Unreachable("killed")
                response = await client.send(b"POST", service.url, headers, body, timeout_s=10)
            except Unreachable:
                waiting.insert(max(0, len(waiting) - dice.randrange(20)), event)
                await asyncio.sleep(0.002)
                continue
            assert response.status == 200
            answered[event.id].append(json_format.encode(decode(response.headers, response.body)))
            if dice.random() < 0.1:
                waiting.insert(0, event)

    client = HttpClient()
    await asyncio.gather(*(send_some(client) for _ in range(SENDERS)))
    await client.close()


async def kill_often(service: Killable, sending: "asyncio.Task[None]", answered: dict[str, list[bytes]]) -> int:
    """Kill at random moments, spread over the events; returns how often."""
    kills, dice = 0, random.Random(SEED + 1)
    while kills < KILLS and not sending.done():
        due = EVENTS * (kills + dice.random()) / (KILLS + 1)
        while len(answered) < due and not sending.done():
            await asyncio.sleep(0.001)
        await asyncio.sleep(dice.random() * 0.01)
        await service.end()
        kills += 1
        await service.start()
    return kills


def stored(folder: Path) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """Verdicts by their events' ids in order of arrival, and memories by key."""
    with closing(sqlite3.connect(folder / "stateful-outlier.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        verdicts = connection.execute("SELECT id, verdict FROM judged ORDER BY position").fetchall()
        return verdicts, connection.execute("SELECT key, value FROM memory ORDER BY key").fetchall()


async def replay(artifact: Artifact, folder: Path, events: list[CloudEvent]) -> None:
    service = open_stateful(artifact, artifact.identity(), folder, DetectorMetrics(), BatchLimits())
    await service.start()
    for event in events:
        await service.answer(event)
    await service.stop()


async def test_killed_often_it_says_what_it_would_have_said(online: Artifact, tmp_path: Path) -> None:
    print("WAYSIDE_TEST_SEED", SEED)
    save(online, tmp_path / "artifact")
    rows = normal_rows(EVENTS * 3, SEED)
    events = [
        request_event(rows[at * 3 : at * 3 + 1 + at % 3], f"e{at}", endpoint=f"p{at % 4}") for at in range(EVENTS)
    ]
    answered: dict[str, list[bytes]] = defaultdict(list)
    service = await Killable.launch(SERVER, str(tmp_path / "artifact"), str(tmp_path / "data"))
    await service.start()
    sending = asyncio.create_task(send_all(events, service, answered))
    try:
        kills = await kill_often(service, sending, answered)
        await sending
        await service.end(signal.SIGTERM)
    finally:
        await service.close()

    verdicts, memories = stored(tmp_path / "data")
    assert kills == KILLS
    assert {event_id for event_id, _ in verdicts} == {event.id for event in events}
    assert len(verdicts) == EVENTS
    assert all(set(answered[event_id]) == {verdict} for event_id, verdict in verdicts)
    by_id = {event.id: event for event in events}
    await replay(online, tmp_path / "again", [by_id[event_id] for event_id, _ in verdicts])
    assert stored(tmp_path / "again") == (verdicts, memories)
