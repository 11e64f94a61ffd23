"""A kill cannot show a missing fsync; system calls can: one stands between an entry's bytes and its acknowledgement.

Source: strace(1), whose lines are in the order in which calls begin, or are resumed and end, across threads.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_ENTRIES = 200


@pytest.fixture
def strace() -> str:
    program = shutil.which("strace")
    if program is None:
        missing = pytest.fail if os.environ.get("WAYSIDE_TEST_REQUIRE_STRACE") == "1" else pytest.skip
        missing("no strace: install Debian's package strace")
    return program


def _completed(lines: list[str]) -> Iterator[str]:
    """The calls in the order in which they end, whole: an unfinished call counts where it is resumed."""
    unfinished: dict[str, str] = {}
    for line in lines:
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            unfinished[process] = text.removesuffix("<unfinished ...>")
        elif text.startswith("<... "):
            yield unfinished.pop(process, "") + text.partition("resumed>")[2]
        else:
            yield text


def test_a_sync_stands_between_an_entrys_bytes_and_its_acknowledgement(
    tmp_path: Path, strace: str, writer_command: Callable[..., list[str]]
) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "journal.db"
    calls = "trace=write,pwrite64,pwritev,fsync,fdatasync,ftruncate"
    command = [
        strace,
        "-f",
        "-y",
        "-s",
        "65536",
        "-e",
        calls,
        "-o",
        str(trace),
        *writer_command(path, 8, 300, _ENTRIES),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    pending: set[str] = set()  # entries whose bytes were written to the log, and no sync of it has followed
    durable: set[str] = set()
    acknowledged = 0
    for text in _completed(trace.read_text(errors="replace").splitlines()):
        if text.startswith("pwrite") and "journal.db-wal>" in text:
            pending.update(re.findall(r"(<\d+/\d+>)\.{3}", text))
        elif re.match(r"f(data)?sync\(\d+<[^>]*journal\.db-wal>\) += 0", text):
            durable |= pending
            pending.clear()
        elif text.startswith("write(1<") and (said := re.search(r'"\+\d+ (<\d+/\d+>)\\n"', text)):
            assert said[1] in durable, f"entry {said[1]} was acknowledged before a sync"
            acknowledged += 1
    assert acknowledged == _ENTRIES
