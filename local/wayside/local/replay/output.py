"""Where a replay's verdicts go: CloudEvents as JSON, one a line, on stdout or in a file.

Invariant: a file is there whole or not at all, and is none of what is read.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wayside.detectors.data.console import OutputFailed
from wayside.eventing import json_format
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent

STDOUT = "-"
_SUFFIXES = (".jsonl", ".ndjson")


def check_target(target: str, sources: Iterable[Path]) -> str:
    """`-`, or a file of JSON lines that is no source and lies in none. Raises `ConfigurationError`."""
    if target == STDOUT:
        return target
    if Path(target).suffix not in _SUFFIXES:
        raise ConfigurationError(f"--out {target!r} is neither - nor a {', '.join(_SUFFIXES)} file")
    if any(Path(target).resolve().is_relative_to(source.resolve()) for source in sources):
        raise ConfigurationError(f"--out {target!r} is among the sources: name another file")
    return target


@contextmanager
def open_events(target: str) -> Iterator[Callable[[CloudEvent], None]]:
    """Takes events, and writes each as one line.

    Raises `ConfigurationError` where a file cannot be made, and `OutputFailed` where it cannot be written to its end.
    `BrokenPipeError` says that whoever read stdout has gone.
    """
    if target == STDOUT:
        with _writing("to stdout"):
            yield _lines(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    part = Path(target).with_name(f".{Path(target).name}.part")
    try:
        file = part.open("wb")
    except OSError as exc:
        raise ConfigurationError(f"cannot write {target}: {exc.strerror or exc}") from exc
    try:
        with _writing(target):
            with file:
                yield _lines(file)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _writing(where: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OutputFailed(f"cannot write {where}: {exc.strerror or exc}") from exc


def _lines(file: BinaryIO) -> Callable[[CloudEvent], None]:
    def write(event: CloudEvent) -> None:
        file.write(json_format.encode(event) + b"\n")

    return write
