"""`wayside events` as a process of its own, beside brokers that run and that do not, and one that is killed."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from events_process import COMMAND, admin, run

from wayside.eventing.broker.events.cli import main, parse
from wayside.eventing.broker.events.source import Wanted
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import read_events
from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url

Until = Callable[..., Awaitable[None]]
NewTrigger = Callable[..., str]
DATA = b'{\n "a": 1.0}'
_ADMIN_PORT = re.compile(r"admin: port (\d+)")


@pytest.fixture
async def kept(workshop: Any, new_trigger: NewTrigger) -> Any:
    """A broker that keeps 1 (settled) and 2 (a dead letter of `t`)."""
    subscriber = await workshop.subscriber()
    subscriber.answer = lambda received: Response(400 if received.id == "2" else 200)
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    for name in ("1", "2"):
        await broker.post(CloudEvent(name, "/s", "a", DATA, datacontenttype="application/json"))
    await broker.wait_settled()
    broker.subscriber = subscriber
    return broker


async def test_lists_of_a_broker_and_of_its_folder_are_the_same(kept: Any, workshop: Any) -> None:
    folder = ["--data", str(workshop.folder / "data")]
    by_port, by_folder = await asyncio.gather(run("list", *admin(kept)), run("list", *folder))
    assert (by_port.status, by_port.err) == (0, "")
    assert by_folder == by_port
    assert [line["event"]["id"] for line in by_port.lines] == ["1", "2"]
    await kept.service.stop()
    letters = await run("list", "--dead-letters", "--trigger", "t", *folder)
    assert [line["deliveries"][0]["reason"] for line in letters.lines] == ["answered 400"]
    assert await run("list", *folder) == by_port
    newest = await run("list", "--newest-first", "-n", "1", *folder)
    assert [line["position"] for line in newest.lines] == [2]


async def test_a_full_list_is_read_back_as_the_very_events(kept: Any, workshop: Any) -> None:
    listed = await run("list", "--full", *admin(kept))
    events = list(read_events(listed.out.encode()))
    assert events == kept.subscriber.events
    assert all(isinstance(one, CloudEvent) and one.data == DATA for one in events)
    exported = workshop.folder / "events.jsonl"
    exported.write_text(listed.out)
    asked = ["-f", str(workshop.folder / "manifest.yaml"), "-e", str(exported)]
    tested = (await run("test", *asked, command="trigger")).lines
    assert [(line["trigger"], line["event"], line["passes"]) for line in tested] == [("t", "1", True), ("t", "2", True)]


async def test_data_too_large_for_the_admin_port_is_read_from_the_folder(kept: Any, workshop: Any) -> None:
    await kept.post(CloudEvent("large", "/s", "a", bytes((8 << 20) + 1)))
    await kept.wait_settled()
    by_port, by_folder = await asyncio.gather(
        run("list", "--full", *admin(kept)), run("list", "--full", "--data", str(workshop.folder / "data"))
    )
    assert (by_port.status, [line["id"] for line in by_port.lines]) == (1, ["1", "2"])
    assert by_port.err == "wayside events: the data of the event at 3 is too large to fetch: use --data DIR\n"
    assert (by_folder.status, [line["id"] for line in by_folder.lines]) == (0, ["1", "2", "large"])


async def test_a_terminal_gets_columns_and_sentences(kept: Any) -> None:
    ours, theirs = pty.openpty()
    for arguments in (["list"], ["redeliver"]):
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "events", *arguments, *admin(kept)), stdout=theirs, stderr=theirs
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0
    shown = (await asyncio.to_thread(os.read, ours, 65_536)).decode().splitlines()
    os.close(ours)
    os.close(theirs)
    assert shown[0].split() == ["POSITION", "RECEIVED", "TYPE", "SOURCE", "ID", "SIZE", "DELIVERIES"]
    assert [line.index("/s") for line in shown[1:3]] == [shown[0].index("SOURCE")] * 2
    assert shown[2].endswith("t: dead-letter after 1 attempt, answered 400")
    assert shown[3:] == ["1 dead letter redelivered: 1 of default/default/t"]


async def test_replay_and_redeliver(kept: Any) -> None:
    foreseen = await run("replay", "--trigger", "t", "--from", "1h", "--dry-run", *admin(kept))
    (counted,) = foreseen.lines
    assert {name: counted[name] for name in ("trigger", "dry_run", "looked", "replayed", "dead_letters")} == {
        "trigger": "default/default/t",
        "dry_run": True,
        "looked": 2,
        "replayed": 1,
        "dead_letters": 1,
    }
    await run("replay", "--trigger", "default/t", "--from", "1h", "--to", "0s", *admin(kept))
    kept.subscriber.answer = lambda _: Response(200)
    made = await run("redeliver", "--position", "2", "1", *admin(kept))
    assert (made.status, made.lines) == (0, [{"redelivered": 1, "triggers": {"default/default/t": 1}}])
    await kept.wait_settled()
    counts = kept.counts()
    assert (counts.matched, counts.delivered, counts.dead_lettered) == (3, 3, 0)
    assert sorted(kept.subscriber.ids) == ["1", "1", "2", "2"]
    nothing = await run("redeliver", "--position", "2", *admin(kept))
    assert (nothing.status, nothing.lines[0]["redelivered"]) == (1, 0)


async def test_a_replay_that_is_cut_short_says_where_to_go_on(kept: Any) -> None:
    """The proxy lets one step through and then hangs up."""
    steps = 0
    port = kept.service.admin_port

    async def answer(request: Request) -> Response:
        nonlocal steps
        steps += 1
        if steps > 1:
            return Response.text(503, "the disk is full")
        url = Url.parse(f"http://127.0.0.1:{port}{request.path}")
        body = json.dumps({**json.loads(request.body), "limit": 1}).encode()
        answered = await kept.client.send(request.method, url, [JSON], body, timeout_s=10)
        assert isinstance(answered, Response)
        return Response(answered.status, [JSON], answered.body)

    proxy = HttpServer(answer, "127.0.0.1", 0)
    await proxy.start()
    asked = ["replay", "--trigger", "t", "--from", "1h"]
    ended = await run(*asked, "--admin", f"http://127.0.0.1:{proxy.port}")
    await proxy.stop(grace_s=0)
    assert (ended.status, ended.out) == (1, "")
    told = re.search(r"cut short, 1 replayed of 1 event: go on with (--from \S+ --to \S+ --after 1)\n", ended.err)
    assert told is not None
    assert "the disk is full" in ended.err
    rest = await run("replay", "--trigger", "t", *told[1].split(), *admin(kept))
    assert (rest.lines[0]["looked"], rest.lines[0]["dead_letters"]) == (1, 1)


@asynccontextmanager
async def tailing(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "events", "tail", *arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _next(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    return str(json.loads(line)["event"]["id"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_tail_follows_until_it_is_told_to_end(kept: Any, number: signal.Signals) -> None:
    async with tailing("-n", "1", "--trigger", "t", *admin(kept)) as process:
        assert await _next(process) == "2"
        for name in ("3", "4"):
            await kept.post(CloudEvent(name, "/s", "a"))
            assert await _next(process) == name
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_tail_ends_when_nobody_reads_any_more(kept: Any) -> None:
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(*(*COMMAND, "events", "tail", *admin(kept)), stdout=writing)
    os.close(writing)
    assert b'"id": "1"' in await asyncio.to_thread(os.read, reading, 65_536)
    os.close(reading)
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "say which: list, tail, replay, redeliver, not ''"),
        (["watch"], 2, "say which"),
        (["list", "--from", "soon"], 2, "argument --from: 'soon' is neither a time"),
        (["list", "--limit", "0"], 2, "0 is not a number from 1"),
        (["list", "--admin", "localhost:8611"], 2, "is not an absolute http"),
        (["list", "--data", "/nowhere"], 2, "--data /nowhere: there is no journal.db"),
        (["list", "--admin", "http://127.0.0.1:1"], 1, "name its admin port with --admin URL"),
        (["tail", "--admin", "http://127.0.0.1:1"], 1, "name its admin port with --admin URL"),
        (["tail", "-n", "1001"], 2, "1001 is more than 1000"),
        (["tail", "--from", "1h"], 2, "unrecognized arguments: --from 1h"),
        (["replay", "--trigger", "t"], 2, "required: --from"),
        (["replay", "--from", "1h"], 2, "required: --trigger"),
        (["redeliver", "--position", "x"], 2, "'x' is not a whole number"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], status: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, {}) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("wayside events: ")
    assert says in err
    assert err.count("\n") == 1


async def test_an_unknown_trigger_is_told_with_those_there_are(kept: Any) -> None:
    for arguments in (["replay", "--from", "1h"], ["redeliver"], ["list"]):
        ended = await run(*arguments, "--trigger", "x", *admin(kept))
        assert (ended.status, ended.out) == (2, "")
        assert ended.err == "wayside events: no Trigger is called 'x': there are default/default/t\n"


async def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 100)
    ended = await run("list", "--data", str(tmp_path))
    assert ended.status == 1
    assert "is damaged" in ended.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"], {}) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in ("list", "tail", "replay", "redeliver"))


def test_flags_and_environment() -> None:
    environ = {"WAYSIDE_EVENTS_ADMIN": "http://broker:1/"}
    settings = parse(["list", "--from", "2h", "--type", "a", "--full"], environ)
    assert (settings.admin, settings.full, settings.limit, settings.data) == ("http://broker:1/", True, None, None)
    assert settings.wanted == Wanted(since="2h", type="a", with_data=True)
    assert parse(["tail"], {}).admin == "http://127.0.0.1:8611"
    assert parse(["redeliver", "--position", "1", "2", "--position", "3"], {}).positions == (1, 2, 3)
    with pytest.raises(ConfigurationError, match="is not an absolute http"):
        parse(["list"], {"WAYSIDE_EVENTS_ADMIN": "here"})


@asynccontextmanager
async def running(folder: Path, flags: Sequence[str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A broker as a process, with the address of its admin port; killed with -9 at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wayside.eventing.broker", "--data", str(folder / "data"), "--port", "0"),
        *("--manifest", str(folder / "manifest.yaml"), "--admin-port", "0", *flags),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if found := _ADMIN_PORT.search(line.decode()):
                yield process, f"http://127.0.0.1:{found[1]}"
                break
    finally:
        process.kill()
        await process.communicate()


async def test_what_was_asked_for_once_more_survives_a_kill(
    workshop: Any, new_trigger: NewTrigger, until: Until
) -> None:
    subscriber = await workshop.subscriber()
    subscriber.answer = lambda received: Response(400 if received.id == "dead" else 200)
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    for name in ("dead", *map(str, range(40))):
        await broker.post(CloudEvent(name, "/s", "a"))
    await broker.wait_settled()
    await broker.service.stop()
    del subscriber.events[:]

    hanging = asyncio.Event()

    async def hang(_: CloudEvent) -> Response:
        await hanging.wait()
        return Response(200)

    subscriber.answer = hang
    flags = ["--resolve", f"t={subscriber.url}", "--in-flight", "4"]
    async with running(workshop.folder, flags) as (_, address):
        assert (await run("redeliver", "--admin", address)).lines[0]["redelivered"] == 1
        replayed = await run("replay", "--trigger", "t", "--from", "1h", "--admin", address)
        assert replayed.lines[0]["replayed"] == 40
        await until(lambda: len(subscriber.events) == 4)
    hanging.set()
    async with running(workshop.folder, flags):
        await until(lambda: len(set(subscriber.ids)) == 41)
    assert len(subscriber.events) <= 41 + 4
