"""A kill cannot show a missing fsync; system calls can: one stands between an entry's bytes and its acknowledgement."""

import re
from collections.abc import Callable
from pathlib import Path

from system_calls import strings_of, trace

_ENTRIES = 200


def test_a_sync_stands_between_an_entrys_bytes_and_its_acknowledgement(
    tmp_path: Path, writer_command: Callable[..., list[str]]
) -> None:
    path = tmp_path / "journal.db"
    pending: set[bytes] = set()  # entries whose bytes were written to the log, and no sync of it has followed
    durable: set[bytes] = set()
    acknowledged = 0
    for call in trace(writer_command(path, 8, 300, _ENTRIES), tmp_path):
        strings = strings_of(call)
        is_log = strings[:1] == [b"%s-wal" % bytes(path)]
        if call.startswith("pwrite64(") and is_log:
            pending.update(re.findall(rb"(<\d+/\d+>)\.{3}", strings[1]))
        elif re.match(r"f(data)?sync\(.* = 0$", call) and is_log:
            durable |= pending
            pending.clear()
        elif call.startswith("write(1<") and (said := re.match(rb"\+\d+ (<\d+/\d+>)\n", strings[1])):
            assert said[1] in durable, f"entry {said[1]!r} was acknowledged before a sync"
            acknowledged += 1
    assert acknowledged == _ENTRIES
