"""Room for rows: what no window needs gives its room back, and a window that never fits is refused at once."""

from pathlib import Path

import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.settings import parse
from wayside.detectors.serving.window_opening import restore_windows
from wayside.eventing.errors import ConfigurationError, QueueFull
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import MemorySink

from .conftest import Drift, DriftTerms, at, drift_in, later, normal_rows, request_event, wait_until

KEY_BYTES = 8 << 10  # twice as much is held: 512 rows of 4 columns


def late(rows: int, name: str, **extensions: str) -> CloudEvent:
    return request_event(normal_rows(rows, 1), name, at(1), **extensions)


async def take_in_the_end(drift: Drift, event: CloudEvent) -> None:
    """As a sender that is told to come again later does."""
    for _ in range(10):
        try:
            await drift.take(event)
        except QueueFull:
            await wait_until(lambda: drift.service.view()["judging"] == 0)
        else:
            return
    raise AssertionError("it is refused for ever")


@pytest.mark.parametrize("keys", [1, 20], ids=["of one key", "of many keys"])
async def test_late_rows_give_their_room_back(ks: Artifact, tmp_path: Path, keys: int) -> None:
    limits = WindowLimits(key_bytes=KEY_BYTES) if keys == 1 else WindowLimits(all_bytes=KEY_BYTES)
    names = [f"k{n}" for n in range(keys)]
    async with drift_in(tmp_path, ks, terms=DriftTerms(limits)) as drift:
        for name in names:
            await take_in_the_end(drift, later(100, event_id=name, endpoint=name))
        for n in range(40):
            name = names[n % keys]
            await take_in_the_end(drift, late(40, f"late {n}", endpoint=name))
        assert sum(key["late"] for key in drift.keys.values()) == 1600, "three times as many as there is room for"
    async with drift_in(tmp_path, ks, terms=DriftTerms(limits)) as drift:
        await take_in_the_end(drift, request_event(normal_rows(400, 1), "in time", at(99), endpoint=names[0]))


async def test_who_is_refused_for_want_of_room_finds_it_next_time(ks: Artifact, tmp_path: Path) -> None:
    """Too little is spent to be written off for its own sake."""
    async with drift_in(tmp_path, ks, terms=DriftTerms(WindowLimits(key_bytes=KEY_BYTES))) as drift:
        await drift.take(later(100), late(40, "late"))
        assert drift.service.view()["judging"] == 0
        event = request_event(normal_rows(480, 1), "large", at(99))
        with pytest.raises(QueueFull):
            await drift.take(event)
        await wait_until(lambda: drift.service.view()["judging"] == 0)
        assert await drift.take(event) == ["scored"]


async def test_a_key_says_that_its_rows_are_late(ks: Artifact, tmp_path: Path) -> None:
    async with drift_in(tmp_path, ks) as drift:
        await drift.take(later(100, 27), late(3, "3"))
        assert [key["state"] for key in drift.keys.values()] == ["warming up: 27 of 50 rows"]
        await drift.take(late(10, "10"))
        assert [key["state"] for key in drift.keys.values()] == ["waiting: 32 % of rows are late"]


@pytest.mark.parametrize(
    ("limits", "advice"),
    [
        (["--key-bytes", "1599"], "give --key-bytes 1600 or more, or fit"),
        (["--all-bytes", "1Ki"], "give --all-bytes 1600 or more, or fit"),
        (["--key-bytes", "1Ki", "--all-bytes", "1Ki"], "give --key-bytes 1600 or more and --all-bytes 1600 or more"),
        (["--key-bytes", "1600", "--all-bytes", "1600"], None),
    ],
    ids=["of a key", "of all", "both", "just enough"],
)
def test_a_window_without_room_is_refused(ks: Artifact, tmp_path: Path, limits: list[str], advice: str | None) -> None:
    flags = ["--artifact", "ks", "--data", str(tmp_path), "--sink-url", "http://localhost:1/", *limits]
    settings = parse(flags, {})
    if advice is None:
        restore_windows(ks, "drift", settings, DetectorMetrics(), MemorySink()).release()
        return
    with pytest.raises(ConfigurationError, match=f"50 rows of 4 columns takes 1600 bytes.*{advice}"):
        restore_windows(ks, "drift", settings, DetectorMetrics(), MemorySink())
