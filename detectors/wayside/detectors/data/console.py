"""What `wayside fit` and `wayside score` say on stdout, where nobody may read to the end.

Invariant: a reader that has gone is no error, and a stdout that cannot be written is one that is told.
"""

import os
import sys
from collections.abc import Iterable

from wayside.eventing.errors import WaysideError

EXIT_INTERRUPTED = 130  # as a shell says it of SIGINT


class OutputFailed(WaysideError):
    """What was to be written could not be: a disk is full, say. Nothing was wrong with any setting."""


def say(lines: Iterable[str]) -> None:
    """Print lines. Where whoever read them has seen enough, the rest goes nowhere. Raises `OutputFailed`."""
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        leave_stdout()
    except OSError as exc:
        leave_stdout()
        raise OutputFailed(f"cannot write to stdout: {exc.strerror or exc}") from exc


def leave_stdout() -> None:
    """Let what is still to come, and what Python has kept of it, go nowhere: at its end it would be tried again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
