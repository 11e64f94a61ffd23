"""The emitter with a spool: what memory has no room for waits on disk, and every event is accounted for."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spool_stage import Switch, an_event, spooled, spooling

from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.storage.entry import Entry, KeptEntry
from wayside.eventing.storage.journal import Journal, look_at
from wayside.logger import cli
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit import spool_entry
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.sender import SinkBusy
from wayside.logger.emit.spool import FILE_NAME, Spool
from wayside.logger.processes.leftovers import Leftovers, Rounds
from wayside.logger.settings import Delivery, SpoolSettings, SpoolWhenFull

_CONTEXT = ("id", "source", "type", "time", "subject", "specversion", "data", "dataschema", "datacontenttype")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
EVENTS = st.builds(
    CloudEvent,
    id=TEXT.filter(bool),
    source=TEXT.filter(bool),
    type=TEXT.filter(bool),
    data=st.binary(),
    time=st.none() | TEXT,
    datacontenttype=st.none() | st.sampled_from(["application/json", "", "x/ü"]),
    dataschema=st.none() | TEXT,
    subject=st.none() | TEXT,
    extensions=st.dictionaries(
        st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name not in _CONTEXT), TEXT, max_size=4
    ),
)


@given(EVENTS, st.integers(0, 1 << 62))
def test_an_event_comes_out_as_it_went_in(event: CloudEvent, time_ns: int) -> None:
    entry = spool_entry.encode(event, time_ns)
    assert entry.data is event.data
    assert spool_entry.decode(KeptEntry(7, entry.time_ns, entry.head, entry.data)) == event


@pytest.mark.parametrize(
    "head",
    [b"", b"\xff", b"[]", b"{", b"{}", b'{"specversion":"1.0","id":1}', b'{"id":"\\ud800"}', b"[" * 100_000],
)
def test_what_is_no_event_is_refused_with_its_place(head: bytes) -> None:
    with pytest.raises(MalformedEvent, match="entry 7 of the spool"):
        spool_entry.decode(KeptEntry(7, 0, head, b""))


async def test_what_waits_while_the_sink_is_away_is_on_disk_and_is_sent_when_it_is_back(tmp_path: Path) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path) as stage:
        for number in range(200):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 200)
        assert look_at(tmp_path / FILE_NAME).cursors[0].waiting_entries == 200
        assert stage.spool.oldest_age_s >= 0
        sink.is_away = False
        await stage.until(lambda: len(sink.ids) == 200 and not stage.spool.waiting)
        assert stage.spool.counts.sent == stage.spool.counts.appended == 200
        assert stage.sent == 200
    assert look_at(tmp_path / FILE_NAME).cursors[0].waiting_entries == 0


async def test_what_memory_has_no_room_for_is_spooled_while_the_sink_is_slow(tmp_path: Path) -> None:
    sink = Switch()
    sink.gate.clear()
    async with spooling(sink, tmp_path, queue_bytes=20_000) as stage:
        for number in range(50):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.counts.appended > 30)
        assert stage.dropped() == 0
        sink.gate.set()
        await stage.until(lambda: len(sink.ids) == 50)
    assert len(sink.events) == 50


async def test_one_sender_keeps_the_order_of_what_is_spooled(tmp_path: Path) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path, workers=1) as stage:
        for number in range(100):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 100)
        order = [event.id for event in await spooled(tmp_path)]
        sink.is_away = False
        await stage.until(lambda: len(sink.ids) == 100)
    assert [event.id for event in sink.events] == order


async def test_a_stop_spools_what_is_in_memory_and_the_next_logger_sends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = Switch()
    hanging.gate.clear()
    async with spooling(hanging, tmp_path, grace_s=0.2) as stage:
        for number in range(100):
            stage.offer(an_event(number))
    assert stage.dropped() == 0
    assert stage.spool.waiting == 100
    assert "stopped with 100 events in the spool, for the next logger to send, and 0 unsent" in caplog.text
    sink = Switch()
    async with spooling(sink, tmp_path) as stage:
        assert stage.spool.counts.found == 100
        await stage.until(lambda: not stage.spool.waiting)
    assert sink.ids == set(range(100))
    assert {event.id: event.data for event in sink.events} == {str(n): an_event(n).data for n in range(100)}


async def test_a_stop_sends_what_is_spooled_as_long_as_the_grace_lasts(tmp_path: Path) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path, grace_s=20) as stage:
        for number in range(100):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 100)
        sink.is_away = False
    assert sink.ids == set(range(100))
    assert stage.spool.waiting == 0


async def test_a_refusal_from_the_spool_is_counted_and_acknowledged(tmp_path: Path) -> None:
    sink = Switch(is_away=True)
    sink.refuses = {"1", "3"}
    async with spooling(sink, tmp_path) as stage:
        for number in range(5):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 5)
        sink.is_away = False
        await stage.until(lambda: not stage.spool.waiting)
    assert sink.ids == {0, 2, 4}
    assert stage.dropped("refused") == 2


@pytest.mark.parametrize(
    ("when_full", "kept"), [(SpoolWhenFull.DROP_OLDEST, "last"), (SpoolWhenFull.DROP_NEWEST, "first")]
)
async def test_a_spool_at_its_limit_drops_by_its_policy(tmp_path: Path, when_full: SpoolWhenFull, kept: str) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path, 100_000, when_full, queue_bytes=10_000) as stage:
        stage.offer(an_event(0, 1000))
        await stage.until(lambda: stage.spool.waiting == 1)
        for number in range(1, 300):
            stage.offer(an_event(number, 1000))
            await asyncio.sleep(0)
        await stage.until(lambda: not stage.spool.handed)
        await stage.spool.tally()
        stage.assert_balance()
        held = {int(event.id) for event in await spooled(tmp_path)}
        assert 0 < len(held) < 100
        assert (299 in held) == (kept == "last")
        assert (1 in held) == (kept == "first")
        sink.is_away = False
        await stage.until(lambda: not stage.spool.waiting and not stage.emitter.in_memory)
    assert held <= sink.ids
    assert stage.dropped("spool_full") == 300 - len(sink.ids)


async def test_an_entry_that_is_no_event_is_counted_and_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    await journal.start()
    good = spool_entry.encode(an_event(4), 1)
    await journal.append([Entry(1, b"no JSON", b""), good, Entry(1, b"{}", b"")])
    await journal.stop()
    sink = Switch()
    async with spooling(sink, tmp_path) as stage:
        await stage.until(lambda: not stage.spool.waiting)
        assert stage.dropped("spool_unreadable") == 2
    assert sink.ids == {4}
    assert "is no event" in caplog.text
    assert look_at(tmp_path / FILE_NAME).cursors[0].waiting_entries == 0


def test_a_folder_of_another_logger_is_refused_with_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def own() -> int:
        async with spooling(Switch(), tmp_path):
            return await asyncio.to_thread(start_in, tmp_path)

    assert asyncio.run(own()) == 2
    assert "in use by process" in (said := capsys.readouterr().err)
    assert "a folder of its own" in said
    assert said.count("\n") == 1


def start_in(folder: Path) -> int:
    command = [sys.executable, "-m", "wayside.logger", "--log-url", "http://127.0.0.1:9/", "--spool", str(folder)]
    done = subprocess.run([*command, "--port", "0", "--admin-port", "0"], capture_output=True, text=True, timeout=30)
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode


@pytest.mark.parametrize("kind", ["file", "foreign"])
def test_a_folder_that_is_none_is_refused_with_advice(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "spool"
    if kind == "file":
        folder.write_text("not a folder")
    else:
        folder.mkdir()
        (folder / FILE_NAME).write_text("not a journal" * 1000)
    assert start_in(folder) == 2
    assert "cannot be used" in capsys.readouterr().err


async def test_a_stop_before_the_start_does_nothing(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(tmp_path / "none"), 8)
    await spool.stop()
    assert not (tmp_path / "none").exists()


def test_the_flags_and_their_variables(tmp_path: Path) -> None:
    assert cli.parse([], {}).delivery.spool is None
    url = ["--log-url", "http://b/"]
    argv = [*url, "--spool", str(tmp_path), "--spool-limit", "2Mi", "--spool-when-full", "drop-newest"]
    settings = SpoolSettings(tmp_path, 2 << 20, SpoolWhenFull.DROP_NEWEST)
    assert cli.parse(argv, {}).delivery.spool == settings
    environ = {
        f"WAYSIDE_LOGGER_{flag[2:].upper().replace('-', '_')}": value
        for flag, value in zip(argv[2::2], argv[3::2], strict=True)
    }
    assert cli.parse(url, environ).delivery.spool == settings
    assert cli.parse([*url, "--spool", "/s"], {}).delivery.spool == SpoolSettings(Path("/s"))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--spool", "/s"], "needs a --log-url"),
        (["--spool", "/s", "--log-url", "http://b/", "--spool-limit", "1"], "--spool-limit"),
        (["--spool-when-full", "wait"], "invalid choice"),
    ],
)
def test_what_cannot_be_spooled_is_said(argv: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        cli.parse(argv, {})


class Failing(Switch):
    """Answers with an error to what it is said to, and takes all others."""

    async def send(self, event: CloudEvent) -> None:
        if event.id in self.refuses:
            raise SinkBusy("answered 500")
        await super().send(event)


async def test_what_is_answered_with_errors_holds_up_nothing_that_is_spooled_behind_it(tmp_path: Path) -> None:
    sink = Failing(is_away=True)
    sink.refuses = {"0", "1"}
    async with spooling(sink, tmp_path) as stage:
        for number in range(40):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 40)
        sink.is_away = False
        await stage.until(lambda: len(sink.events) == 38)
    assert stage.spool.waiting == 2


async def test_a_stop_without_grace_leaves_the_disk_the_time_that_it_takes(tmp_path: Path) -> None:
    sink = Switch()
    sink.gate.clear()
    async with spooling(sink, tmp_path, grace_s=0.0) as stage:
        for number in range(50):
            stage.offer(an_event(number))
    assert stage.spool.waiting == 50
    assert not stage.dropped()


async def test_a_large_event_in_the_spool_holds_up_nothing(tmp_path: Path) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path, queue_bytes=20_000) as stage:
        for number, size_bytes in enumerate((100, 100_000, 100)):
            stage.offer(an_event(number, size_bytes))
        await stage.until(lambda: stage.spool.waiting == 3)
        sink.is_away = False
        await stage.until(lambda: len(sink.events) == 3)


async def test_leftovers_of_a_long_outage_are_sent_by_another_emitter_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path) as stage:
        stage.offer(an_event(0))
    made: list[Emitter] = []

    def emitter_for(folder: Path) -> Emitter:
        sink.is_away = not made
        made.append(Emitter(sink, Delivery(), LoggerCounts(), Spool(SpoolSettings(folder), 8)))
        return made[-1]

    leftovers = Leftovers([tmp_path], emitter_for, Rounds(patience_s=0.3, pause_s=0.01))
    await leftovers.start()
    async with asyncio.timeout(10):
        await leftovers.wait_sent()
    assert len(made) == 2
    assert sink.ids == {0}
    assert "1 events were sent, and none dropped" in caplog.text
