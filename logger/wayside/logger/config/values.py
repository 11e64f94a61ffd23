"""What the flags' values are written as: shares and rates, Go's numbers and durations, lists.

Source: Go's strconv.ParseInt and time.ParseDuration; encoding/csv, as pflag's StringSlice reads it.
Invariant: pure; a text is read whole or refused with what to write instead.
"""

import argparse
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from wayside.eventing.errors import ConfigurationError
from wayside.logger.settings import Sampling, StatusShare

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", re.ASCII)
_RATE = re.compile(r"(\d{1,7}(?:\.\d{1,6})?)\s*/s", re.ASCII)
_STATUSES = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?\s*=\s*(.+)", re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OCTAL = re.compile(r"([+-]?)0([0-7_]+)", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNIT_S = {
    **{"ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6), "ms": Fraction(1, 1000)},
    **{"s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)},
}
_DAY_S = 86_400
_ANNOTATION = re.compile(r"(?=.*[A-Za-z])([A-Za-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


def parse_share(text: str) -> float:
    """'10%' is 0.1."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0% to 100%")
    return float(Fraction(match[1]) / 100)


def parse_sample(text: str) -> Sampling:
    """'10%' of all requests, or at most '100/s'."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        return Sampling(share=_share_or_rate(text))
    if float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} captures nothing: write 0%")
    return Sampling(per_second=float(match[1]))


def _share_or_rate(text: str) -> float:
    try:
        return parse_share(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a share such as 10% nor a rate such as 100/s") from None


def parse_statuses(text: str) -> tuple[StatusShare, ...]:
    """'500-599=100%,200=1%', with commas or semicolons."""
    return tuple(map(_status, filter(str.strip, re.split("[,;]", text))))


def _status(text: str) -> StatusShare:
    match = _STATUSES.fullmatch(text.strip())
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise argparse.ArgumentTypeError(f"{text.strip()!r} is not a share by status, such as 500-599=100%")
    return StatusShare(int(match[1]), int(match[2] or match[1]), parse_share(match[3]))


def parse_header_name(text: str) -> str:
    """A header's name, or nothing."""
    if text and _TOKEN.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a header's name")
    return text


def parse_count(text: str) -> int:
    """A whole number as Go takes it: '16', '0x10', '0b1', '017' (octal), '1_000'. Raises ValueError."""
    return int(_OCTAL.sub(r"\g<1>0o\2", text) if _OCTAL.fullmatch(text) else text, 0)


def parse_duration_s(text: str) -> float:
    """Go's durations, in seconds: '5s', '100ms', '1m30s', '0'; below 0 is 0, and over a day is a day."""
    bare = text[1:] if text[:1] in ("+", "-") else text
    parts = _DURATION.findall(bare)
    if bare == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != bare:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 5s or 1m30s")
    seconds = sum((_amount(number) * _UNIT_S[unit] for number, unit in parts), Fraction())
    return 0.0 if text.startswith("-") else float(min(seconds, Fraction(_DAY_S)))


def _amount(number: str) -> Fraction:
    whole, _, part = number.partition(".")
    return Fraction(f"{whole or 0}.{part or 0}")


def parse_place(text: str) -> tuple[int, int] | None:
    """'2/4' is the third of four processes; nothing is none."""
    if not text:
        return None
    place, _, processes = text.partition("/")
    return int(place), int(processes)


def header_names(texts: Iterable[str], *, as_written: bool) -> frozenset[str]:
    """The names in lists with commas: trimmed and in lower case, unless they are to stay as they were written."""
    names = (name for text in texts for name in _csv_items(text))
    if as_written:
        return frozenset(name for name in names if name)
    return frozenset(name.strip().lower() for name in names if name.strip())


def annotation_pairs(texts: Iterable[str]) -> Mapping[str, str]:
    """Annotations as KServe's injector joins them: `key=value,key=value`, of equal keys the last.

    The injector quotes nothing, so a comma may be part of a value: what follows one and does not begin with an
    annotation's key, which has a letter, belongs to the value before. Raises `ConfigurationError` where the first has
    no key.
    """
    pairs = (pair for text in texts for pair in _pairs(text))
    return dict(pairs)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    items = _csv_items(text)
    if not all(map(begins_a_pair, items)):
        items = _glued(text.split(","))
    for item in filter(None, items):
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationError(f"--metadata-annotations: {key!r} is not key=value")
        yield key, value


def _glued(parts: list[str]) -> list[str]:
    items: list[str] = []
    for part in parts:
        if items and not begins_a_pair(part):
            items[-1] += f",{part}"
        else:
            items.append(part)
    return items


def begins_a_pair(item: str) -> bool:
    """Whether what follows a comma is an annotation of its own."""
    key, equals, _ = item.partition("=")
    return bool(equals) and _ANNOTATION.fullmatch(key) is not None


def _csv_items(text: str) -> list[str]:
    """One record of CSV; where it is none, what stands between its commas."""
    try:
        return [item for row in csv.reader([text], strict=True) for item in row]
    except csv.Error:
        return text.split(",")
