"""Time as events carry it: RFC 3339 text in UTC, and a clock that tests can set.

Invariant: pure code takes times as arguments; only shells hold a `Clock`.
"""

import re
import time as _time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from wayside.eventing.errors import MalformedEvent

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt]((?:[01]\d|2[0-3]):\d{2}:)(\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


class Clock(Protocol):
    """What tells the time. `time_ns` is wall-clock nanoseconds since the epoch; `monotonic_s` never goes back."""

    def time_ns(self) -> int: ...

    def monotonic_s(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    time_ns = staticmethod(_time.time_ns)
    monotonic_s = staticmethod(_time.monotonic)


@dataclass(slots=True)
class FakeClock:
    """A clock that stands still until `advance` is called."""

    now_ns: int = 1_700_000_000_000_000_000

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_s(self) -> float:
        return self.now_ns / 1e9

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds, as KServe's logger writes `ce-time`."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return f"{_format_second(seconds)}.{fraction:09d}Z"


@lru_cache(maxsize=16)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 timestamp; digits past the ninth are cut.

    A leap second is the second after it. Raises `MalformedEvent` for anything else: a time without an offset, or one
    that `format_time` could not write, outside the years 1 to 9999 in UTC.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise MalformedEvent(f"time {text[:64]!r} is not an RFC 3339 timestamp")
    date, minutes, seconds, fraction, offset = match.groups()
    try:
        whole = _parse_second(date, minutes, seconds, offset)
    except (ValueError, OverflowError) as exc:
        raise MalformedEvent(f"time {text[:64]!r} is out of range") from exc
    return whole * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))


def plain_time(text: str) -> str:
    """The same moment as every reader of RFC 3339 takes it: Go's refuses a small `t` or `z`, and a leap second.

    A text that is plain already stays as it is. Raises as `parse_time` does.
    """
    time_ns = parse_time(text)
    is_plain = text[10] == "T" and text[-1] != "z" and text[17:19] != "60"
    return text if is_plain else format_time(time_ns)


@lru_cache(maxsize=16)
def _parse_second(date: str, minutes: str, seconds: str, offset: str) -> int:
    leap = seconds == "60"
    moment = datetime.fromisoformat(f"{date}T{minutes}{'59' if leap else seconds}{offset.upper()}")
    return int((moment.astimezone(UTC) + timedelta(seconds=leap)).timestamp())
