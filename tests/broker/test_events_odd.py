"""`wayside events` where what is kept, who answers, or what stdout is, is not what one expects."""

import asyncio
import json
import os
import pty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from events_process import COMMAND, admin, run

from wayside.eventing.broker.events.source import AdminSource, Wanted
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import SystemClock
from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.triggers.names import BrokerName

NewTrigger = Callable[..., str]
STEERING = "\x9b2J\x7f\u202e"


async def keep(folder: Path, *events: CloudEvent) -> None:
    """Events in a broker's store, past its door."""
    store = BrokerStore(folder / "journal.db", 1 << 30, SystemClock())
    await store.start()
    for one in events:
        await store.add(Arrival(BrokerName("default", "default"), one, 255, [], ()))
    await store.stop()


async def test_an_event_with_a_large_attribute_hides_no_other(workshop: Any, new_trigger: NewTrigger) -> None:
    large = CloudEvent("2", "/s", "a", b"x", subject="a" * (16 << 20))
    data = workshop.folder / "data"
    await keep(data, CloudEvent("1", "/s", "a"), large, CloudEvent("3", "/s", "a"))
    broker = await workshop.broker(new_trigger("t"), {"t": "http://127.0.0.1:1/"})
    listed = await run("list", *admin(broker))
    assert (listed.status, listed.err) == (0, "")
    assert [(line["event"]["id"], line.get("attributes_cut")) for line in listed.lines] == [
        ("1", None),
        ("2", True),
        ("3", None),
    ]
    assert listed.lines[1]["event"]["subject"] == "a" * 256
    full = await run("list", "--full", *admin(broker))
    assert (full.status, [line["id"] for line in full.lines]) == (1, ["1", "3"])
    assert full.err == (
        "wayside events: the text of the attributes of the event at 2 is too large to fetch: use --data DIR\n"
    )


STRANGE = [b"[]", b"{}", b"5", b'{"events": [], "last": "1", "triggers": []}', b"<html>", b"[" * 100_000, b"\xff"]


@pytest.mark.parametrize("body", STRANGE, ids=lambda body: repr(body[:8]))
async def test_who_answers_as_no_broker_does_is_told_from_one(body: bytes) -> None:
    async def answer(request: Request) -> Response:
        return Response(200, [JSON], body)

    stranger = HttpServer(answer, "127.0.0.1", 0)
    await stranger.start()
    source = AdminSource(f"http://127.0.0.1:{stranger.port}")
    for asking in (lambda: source.page(Wanted(), None, 1), lambda: source.act("/replay", {}),
                   lambda: source.act("/redeliver", {})):  # fmt: skip
        with pytest.raises(WaysideError, match=r"answered .*: --admin URL names a broker's admin port$"):
            await asking()
    await source.stop()
    await stranger.stop(grace_s=0)


async def test_a_refusal_is_one_line_that_steers_no_terminal() -> None:
    async def answer(request: Request) -> Response:
        return Response.text(400, f"a\n{STEERING}")

    stranger = HttpServer(answer, "127.0.0.1", 0)
    await stranger.start()
    ended = await run("list", "--admin", f"http://127.0.0.1:{stranger.port}")
    await stranger.stop(grace_s=0)
    assert (ended.status, ended.err) == (2, "wayside events: a\\n\\x9b2J\\x7f\\u202e\n")


async def test_an_encoding_that_cannot_carry_a_name_costs_no_event(tmp_path: Path) -> None:
    await keep(tmp_path, CloudEvent("中é", "/s", "a", b'"\xc3\xa9\xe4\xb8\xad"', datacontenttype="application/json"))
    for form in ([], ["--full"]):
        listed = await run("list", *form, "--data", str(tmp_path), PYTHONIOENCODING="latin-1")
        assert (listed.status, listed.err) == (0, "")
        assert listed.out.isascii()
        assert listed.lines[0].get("event", listed.lines[0])["id"] == "中é"


async def test_whole_events_do_not_steer_a_terminal(tmp_path: Path) -> None:
    data = json.dumps(STEERING, ensure_ascii=False).encode()
    await keep(tmp_path, CloudEvent("1", "/s", "a", data, subject=STEERING, datacontenttype="application/json"))
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "events", "list", "--full", "--data", str(tmp_path)), stdout=theirs, stderr=theirs
    )
    assert await asyncio.wait_for(process.wait(), 30) == 0
    shown = (await asyncio.to_thread(os.read, ours, 65_536)).decode().rstrip("\r\n")
    os.close(ours)
    os.close(theirs)
    assert shown.isprintable()
    assert (json.loads(shown)["subject"], json.loads(shown)["data"]) == (STEERING, STEERING)


async def test_looking_at_a_folder_changes_nothing_in_it(tmp_path: Path) -> None:
    await keep(tmp_path, CloudEvent("1", "/s", "a"))
    before = sorted(file.name for file in tmp_path.iterdir())
    assert (await run("list", "--data", str(tmp_path))).status == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == before
