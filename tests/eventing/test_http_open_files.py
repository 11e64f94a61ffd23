"""The limit of open files, in processes of their own: it is one for the whole process."""

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, socket, sys
from wayside.eventing.http.open_files import allow_open_files
soft, hard, count = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
allowed = allow_open_files(count)
held = []
try:
    while True:
        held.append(socket.socket())
except OSError as exc:
    print(allowed, held[-1].fileno() + 1, *resource.getrlimit(resource.RLIMIT_NOFILE), exc.strerror)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "count", "allowed"),
    [
        (64, 256, 128, 128),
        (64, 256, 256, 256),
        (64, 256, 1000, 256),
        (128, 256, 64, 128),
        (256, 256, 1000, 256),
    ],
)
def test_room_is_made_as_far_as_the_hard_limit_goes(soft: int, hard: int, count: int, allowed: int) -> None:
    command = [sys.executable, "-c", _PROGRAM, *map(str, (soft, hard, count))]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == [*map(str, (allowed, allowed, allowed, hard)), "Too", "many", "open", "files"]
