"""Values of a verdict's JSON, taken only where they are what they should be.

Invariant: each of these returns a value of its type or raises `TypeError` or `ValueError`, for any JSON whatever; what
reads an event's data turns both into `MalformedEvent`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

BAD_VALUE = (KeyError, TypeError, ValueError, OverflowError, MalformedEvent)
"""What reading a value that is absent or of the wrong kind raises."""

ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def number(value: object) -> float:
    """A finite number."""
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]  # a number by now
        raise ValueError(f"{str(value)[:64]!r} is not a finite number")
    return float(value)  # type: ignore[arg-type]


def number_or_none(value: object) -> float | None:
    """A finite number, or null."""
    return None if value is None else number(value)


def numbers_or_none(values: Sequence[object]) -> list[float | None]:
    """Finite numbers, some of them null."""
    return [number_or_none(value) for value in values]


def position(value: object) -> int:
    """A whole number from 0 on that fits into 64 bits."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{str(value)[:64]!r} is not a row's position")
    return value


def decision(value: object) -> bool:
    """0 or 1."""
    if value not in (0, 1):
        raise ValueError(f"{str(value)[:64]!r} is neither 0 nor 1")
    return bool(value)


def text(value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:64]!r} is not text")
    return value


def member_list(value: object) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:64]!r} is not a list")
    return value


def members_of(value: object) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:64]!r} is not an object")
    return value


def load_data(event: CloudEvent) -> Mapping[str, Any]:
    """The `data` object in an event's JSON. Raises `MalformedEvent`."""
    try:
        data = json.loads(event.data)["data"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise MalformedEvent("verdict's data is not JSON with a 'data' object") from exc
    if not isinstance(data, dict):
        raise MalformedEvent("verdict's 'data' is not an object")
    return data


def dump(value: Mapping[str, Any]) -> bytes:
    """Compact JSON. Raises `ValueError` for a number that is not finite."""
    return ENCODER.encode(value).encode()
