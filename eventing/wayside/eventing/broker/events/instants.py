"""Points in time as people give them: RFC 3339, or an age, as of now.

Invariant: pure; what is neither is refused with an example of each.
"""

import re

from wayside.eventing.clock import parse_time
from wayside.eventing.errors import ConfigurationError, MalformedEvent

_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def parse_age_s(text: str) -> float | None:
    """The seconds of an age such as `90s`, `30m`, `2h`, `7d` or `1w`; None where it is none."""
    age = _AGE.fullmatch(text)
    return None if age is None else float(age[1]) * _UNITS_S[age[2]]


def parse_instant(text: str, now_ns: int) -> int:
    """Nanoseconds since the epoch of `2026-11-21T17:00:00Z`, or of `2h`: two hours ago, 1970 at the earliest.

    Raises `ConfigurationError`.
    """
    age_s = parse_age_s(text)
    if age_s is not None:
        return max(0, now_ns - round(age_s * 1e9))
    try:
        return parse_time(text)
    except MalformedEvent as exc:
        raise ConfigurationError(
            f"{text[:64]!r} is neither a time such as 2026-11-21T17:00:00Z nor an age such as 2h or 30m"
        ) from exc
