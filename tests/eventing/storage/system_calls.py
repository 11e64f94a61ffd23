"""What a process asks of the operating system, as strace(1) writes it down: in the order in which the calls end.

A kill cannot show a missing fsync, for what was written survives it; the calls themselves can.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_CALLS = "trace=openat,write,pwrite64,fsync,fdatasync,ftruncate,rename,unlink"
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")


def trace(command: Sequence[str], folder: Path) -> list[str]:
    """The calls of a command, all of its strings and paths in hex, as `strings_of` reads them."""
    program = shutil.which("strace")
    if program is None:
        missing = pytest.fail if os.environ.get("WAYSIDE_TEST_REQUIRE_STRACE") == "1" else pytest.skip
        missing("no strace: install Debian's package strace")
    assert program is not None
    lines, said = folder / "trace", folder / "said"
    with said.open("wb") as stdout:
        traced = [program, "-f", "-y", "-xx", "-s", "70000", "-e", _CALLS, "-o", str(lines), *command]
        subprocess.run(traced, check=True, stdout=stdout, timeout=120)
    return list(_completed(lines.read_text().splitlines()))


def _completed(lines: list[str]) -> Iterator[str]:
    """An unfinished call counts where it is resumed, whole."""
    unfinished: dict[str, str] = {}
    for line in lines:
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            unfinished[process] = text.removesuffix("<unfinished ...>").rstrip()
        elif text.startswith("<... "):
            yield unfinished.pop(process, "") + text.partition("resumed>")[2].lstrip()
        else:
            yield text


def strings_of(call: str) -> list[bytes]:
    """Every string and path of a call, in its order."""
    return [bytes.fromhex(found.replace("\\x", "")) for found in _HEX.findall(call)]
