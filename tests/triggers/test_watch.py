"""Files that change while they are watched. Nothing here sleeps: each wait of the watch is a step of a play."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from wayside.eventing.triggers.destinations import RefHosts, Resolver
from wayside.eventing.triggers.manifests import Manifests
from wayside.eventing.triggers.watch import ManifestWatch

BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"
Step = Callable[[], object]


class PlayOver(Exception):
    """The watch waited once more than there are steps: it saw no change."""


class Play:
    """The `sleep` of a watch: each call does the next step."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._steps: Iterator[Step] = iter(())

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        for step in self._steps:
            step()
            return
        raise PlayOver

    def run(self, watch: ManifestWatch, *steps: Step) -> list[str] | None:
        """The names of the Triggers that the watch found, or None where it saw no change that it could load."""
        self._steps = iter(steps)
        try:
            return names(asyncio.run(watch.wait_changed()))
        except PlayOver:
            return None


def names(manifests: Manifests) -> list[str]:
    return [trigger.name.name for trigger in manifests.triggers]


def trigger(name: str) -> str:
    return (
        f"---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\n"
        "spec: {broker: default, subscriber: {ref: {kind: Service, name: x}}}\n"
    )


def writes(file: Path, text: str) -> Step:
    return partial(file.write_text, text)


def rest() -> None:
    """Nothing happens."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(BROKER + trigger("one"))
    return path


@pytest.fixture
def play() -> Play:
    return Play()


def watch_of(play: Play, *paths: Path) -> ManifestWatch:
    return ManifestWatch(paths, Resolver(RefHosts()), 0.5, play)


def test_a_file_that_is_written_again_is_read_once_it_stands_still(file: Path, play: Play) -> None:
    watch = watch_of(play, file)
    assert play.run(watch, rest, rest) is None
    assert play.run(watch, writes(file, BROKER + trigger("two")), rest) == ["two"]
    assert play.run(watch, rest, rest) is None
    assert set(play.waits) == {0.5}


def test_a_file_is_not_read_while_it_is_being_written(file: Path, play: Play) -> None:
    parts = [BROKER + trigger("a"), BROKER + trigger("a") + trigger("b"), BROKER + trigger("c") + trigger("b")]
    steps = [writes(file, part) for part in parts]
    assert play.run(watch_of(play, file), *steps, rest) == ["c", "b"]


def test_the_same_bytes_are_no_change(file: Path, play: Play) -> None:
    watch, text = watch_of(play, file), file.read_text()
    assert play.run(watch, writes(file, text), partial(os.utime, file, (1, 1)), rest, rest) is None


def test_a_change_that_keeps_size_and_time_is_seen(file: Path, play: Play) -> None:
    os.utime(file, ns=(1, 1))
    watch = watch_of(play, file)

    def replace() -> None:
        other = file.with_suffix(".new")
        other.write_text(BROKER + trigger("two"))
        os.utime(other, ns=(1, 1))
        other.replace(file)

    assert play.run(watch, replace, rest) == ["two"]


def test_what_is_broken_or_gone_keeps_the_old_and_is_logged_once_for_each_reason(
    file: Path, play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_of(play, file)
    break_it, break_it_alike = writes(file, "a: b: c"), writes(file, "a: b: c\n#")
    with caplog.at_level(logging.ERROR):
        assert play.run(watch, break_it, rest, rest, break_it_alike, rest, file.unlink, rest, rest) is None
    assert [record.getMessage().split(": ", 2)[1] for record in caplog.records] == [
        f"{file}:1:5",
        f"cannot read {file}",
    ]
    assert play.run(watch, writes(file, BROKER + trigger("one")), rest, rest) is None
    assert play.run(watch, writes(file, BROKER + trigger("two")), rest) == ["two"]
    caplog.clear()
    assert play.run(watch, break_it, rest) is None
    assert len(caplog.records) == 1


def test_files_of_a_folder_come_and_go(tmp_path: Path, file: Path, play: Play) -> None:
    watch = watch_of(play, tmp_path)
    other = tmp_path / "n.yaml"
    assert play.run(watch, writes(other, trigger("two")), rest) == ["one", "two"]
    assert play.run(watch, partial(other.rename, tmp_path / "a.yml"), rest) == ["two", "one"]
    assert play.run(watch, (tmp_path / "a.yml").unlink, rest) == ["one"]
    assert play.run(watch, writes(tmp_path / ".#m.yaml", "{"), rest, rest) is None


def test_a_mounted_config_map_is_followed(tmp_path: Path, play: Play) -> None:
    """Kubernetes writes a new folder, then swaps the link `..data` that the files' own links go through."""
    mount = tmp_path / "mount"
    publish(mount, "..v1", BROKER + trigger("one"))
    (mount / "m.yaml").symlink_to("..data/m.yaml")
    on_folder, on_file = watch_of(play, mount), watch_of(play, mount / "m.yaml")
    assert play.run(on_folder, partial(publish, mount, "..v2", BROKER + trigger("two")), rest) == ["two"]
    assert play.run(on_file, rest, rest) == ["two"]


def publish(mount: Path, version: str, text: str) -> None:
    (mount / version).mkdir(parents=True)
    (mount / version / "m.yaml").write_text(text)
    link = mount / "..data_tmp"
    link.symlink_to(version)
    link.rename(mount / "..data")


def test_a_wait_that_is_cancelled_loses_no_change(file: Path, play: Play) -> None:
    watch = watch_of(play, file)
    assert play.run(watch, writes(file, BROKER + trigger("two"))) is None
    assert play.run(watch, rest) == ["two"]


def test_reasons_that_are_remembered_are_bounded(file: Path, play: Play, caplog: pytest.LogCaptureFixture) -> None:
    watch = watch_of(play, file)
    broken = [writes(file, "\n" * number + "a: b: c") for number in range(101)]
    steps = [step for one in (*broken, broken[0]) for step in (one, rest)]
    with caplog.at_level(logging.ERROR):
        assert play.run(watch, *steps) is None
    messages = [record.getMessage() for record in caplog.records]
    assert (len(messages), len(set(messages))) == (102, 101)
