r"""Patterns of LIKE: `%` is any text, `_` any one character, `\%` and `\_` are those characters themselves.

Source: cloudevents/spec c2845a4, cesql/spec.md section 3.4.3.
Theory: between two `%` stands a segment of fixed length, so the leftmost place of each is always a right one, and none
is ever looked for again. A segment is found by `str.find`, or, where it holds `_`, by a regular expression of single
characters only, which cannot backtrack. So a match takes at most text x pattern steps.
Invariant: no pattern is refused, and none costs more.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import methodcaller

Match = Callable[[str], bool]
_WILDCARD = re.compile(r"\\[%_]|%|_")


@dataclass(frozen=True, slots=True)
class _Plain:
    """What stands between two `%`, without a `_`."""

    literal: str
    length: int

    def stands_at(self, text: str, at: int) -> bool:
        return text.startswith(self.literal, at)

    def find(self, text: str, start: int, end: int) -> int:
        """Where it first stands between `start` and `end`, or -1."""
        return text.find(self.literal, start, end)


@dataclass(frozen=True, slots=True)
class _Gapped:
    """What stands between two `%`, with a `_` in it."""

    pattern: re.Pattern[str]
    length: int

    def stands_at(self, text: str, at: int) -> bool:
        return self.pattern.match(text, at) is not None

    def find(self, text: str, start: int, end: int) -> int:
        """Where it first stands between `start` and `end`, or -1."""
        match = self.pattern.search(text, start, end)
        return match.start() if match else -1


_Segment = _Plain | _Gapped


def matcher(pattern: str) -> Match:
    """Whether a whole text is like the pattern: `matcher("a%")("abc")` is True."""
    segments = [_segment(pieces) for pieces in _split(pattern)]
    plain = [segment.literal for segment in segments if isinstance(segment, _Plain)]
    if len(plain) == len(segments):
        quick = _quick(plain)
        if quick is not None:
            return quick
    if len(segments) == 1:
        return _whole(segments[0])
    return _between(segments[0], [each for each in segments[1:-1] if each.length], segments[-1])


def _split(pattern: str) -> list[list[str | None]]:
    """The segments of a pattern, each as literal pieces, and None for each `_`."""
    segments: list[list[str | None]] = [[]]
    at = 0
    for wildcard in _WILDCARD.finditer(pattern):
        segments[-1].append(pattern[at : wildcard.start()])
        at = wildcard.end()
        if wildcard[0] == "%":
            segments.append([])
        else:
            segments[-1].append(None if wildcard[0] == "_" else wildcard[0][1])
    segments[-1].append(pattern[at:])
    return segments


def _segment(pieces: Sequence[str | None]) -> _Segment:
    length = sum(1 if piece is None else len(piece) for piece in pieces)
    if None not in pieces:
        return _Plain("".join(piece for piece in pieces if piece), length)
    return _Gapped(_gapped("".join("." if piece is None else re.escape(piece) for piece in pieces)), length)


@lru_cache(maxsize=256)
def _gapped(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL)


def _quick(literals: Sequence[str]) -> Match | None:
    """The four patterns that nearly all are, at the cost of one call of a str's own method."""
    match literals:
        case [whole]:
            return methodcaller("__eq__", whole)
        case [prefix, ""]:
            return methodcaller("startswith", prefix)
        case ["", suffix]:
            return methodcaller("endswith", suffix)
        case ["", part, ""]:
            return methodcaller("__contains__", part)
    return None


def _whole(segment: _Segment) -> Match:
    return lambda text: len(text) == segment.length and segment.stands_at(text, 0)


def _between(prefix: _Segment, middle: Sequence[_Segment], suffix: _Segment) -> Match:
    def matches(text: str) -> bool:
        at, end = prefix.length, len(text) - suffix.length
        if end < at or not (prefix.stands_at(text, 0) and suffix.stands_at(text, end)):
            return False
        for segment in middle:
            found = segment.find(text, at, end)
            if found < 0:
                return False
            at = found + segment.length
        return True

    return matches
