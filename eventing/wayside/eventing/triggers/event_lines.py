"""Reads events for a question: a file, or stdin line by line, so that a stream is answered while it goes on.

Invariant: an event that cannot be read is refused with its line, or its place in the file, and those after it are read.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal, read_events

STDIN = "-"
_LINE_SUFFIXES = (".jsonl", ".ndjson")


def read_event_file(name: str) -> Iterator[CloudEvent | Refusal]:
    """Each event of the file, or its refusal; "-" is stdin. Raises `ConfigurationError` where it cannot be read."""
    try:
        if name == STDIN:
            yield from read_event_stream(sys.stdin.buffer)
        elif name.endswith(_LINE_SUFFIXES):
            with Path(name).open("rb") as lines:
                yield from _read_lines(lines)
        else:
            yield from _placed(read_events(Path(name).read_bytes()))
    except OSError as exc:
        raise ConfigurationError(f"cannot read {name}: {exc.strerror or exc}") from exc


def read_event_stream(lines: Iterable[bytes]) -> Iterator[CloudEvent | Refusal]:
    """Each event as soon as its line is there, where the first line is a whole event; else all at once."""
    stream = iter(lines)
    first = next(stream, b"")
    if any(isinstance(one, CloudEvent) for one in read_events(first)):
        yield from _read_lines(chain((first,), stream))
    else:
        yield from _placed(read_events(first + b"".join(stream)))


def _read_lines(lines: Iterable[bytes]) -> Iterator[CloudEvent | Refusal]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield from (_at(f"line {number}", one) for one in read_events(line))


def _placed(events: Iterable[CloudEvent | Refusal]) -> Iterator[CloudEvent | Refusal]:
    for one in events:
        is_placed = isinstance(one, Refusal) and one.reason.startswith("line ")
        yield one if is_placed or isinstance(one, CloudEvent) else _at(f"event {one.index + 1}", one)


def _at(place: str, one: CloudEvent | Refusal) -> CloudEvent | Refusal:
    return Refusal(one.index, f"{place}: {one.reason}") if isinstance(one, Refusal) else one
