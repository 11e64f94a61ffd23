"""How a drift detector cuts its windows, what it may spend on false alarms, and when an alert ends: one frozen value.

Invariant: it is part of the artifact and of its digest, so that the same events through the same artifact give the same
windows, levels, verdicts and alerts, whoever runs it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wayside.eventing.errors import ConfigurationError

_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2629746, "year": 31556952}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_BUDGET = re.compile(
    rf"\s*({_NUMBER})\s+(?:per|an?|every|/)\s*(?:({_NUMBER})\s+)?(window|second|minute|hour|day|week|month|year)s?\s*",
    re.ASCII,
)
_MOST_A_WINDOW = 0.5
_MOST_ROWS = 1 << 20
_MOST_SPAN_S = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class CountCut:
    """Windows of exactly `rows` rows; one begins every `step` rows, `rows` where they follow each other."""

    rows: int
    step: int

    def __post_init__(self) -> None:
        if not 2 <= self.rows <= _MOST_ROWS:
            raise ConfigurationError(f"a window of {self.rows} rows: give 2 to {_MOST_ROWS}")
        if not 1 <= self.step <= self.rows:
            raise ConfigurationError(
                f"a step of {self.step} rows between windows of {self.rows}: give 1 to {self.rows}"
            )

    @property
    def overlaps(self) -> bool:
        """Whether a row is in more than one window."""
        return self.step < self.rows

    def __str__(self) -> str:
        return f"{self.rows} rows" if self.step == self.rows else f"{self.rows} rows, one every {self.step}"


@dataclass(frozen=True, slots=True)
class SpanCut:
    """Windows of event time, `span_s` long; one begins at every multiple of `step_s` since the epoch."""

    span_s: float
    step_s: float

    def __post_init__(self) -> None:
        if not 0.001 <= self.span_s <= _MOST_SPAN_S:  # NaN is in no range
            raise ConfigurationError(f"a window of {self.span_s:g} s: give 1 ms to a year")
        if not 0 < self.step_s <= self.span_s or self.span_s / self.step_s > 1000:
            raise ConfigurationError(
                f"a step of {self.step_s:g} s between windows of {self.span_s:g} s: at most the span"
            )

    @property
    def overlaps(self) -> bool:
        """Whether a row is in more than one window."""
        return self.step_s < self.span_s

    def __str__(self) -> str:
        return f"{self.span_s:g} s" if self.step_s == self.span_s else f"{self.span_s:g} s, one every {self.step_s:g} s"


Cut = CountCut | SpanCut


@dataclass(frozen=True, slots=True)
class Budget:
    """`false_alarms` expected `per_s` seconds of event time, or, where that is None, a window."""

    false_alarms: float
    per_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < float("inf"):
            raise ConfigurationError(f"a budget of {self.false_alarms:g} false alarms: give a number above 0")
        if self.per_s is None and self.false_alarms > _MOST_A_WINDOW:
            raise ConfigurationError(
                f"a budget of {self.false_alarms:g} false alarms per window: most windows would be told as drifted"
                f" where nothing drifts; give {_MOST_A_WINDOW:g} at most, such as '0.01 per window'"
            )
        if self.per_s is not None and not 0 < self.per_s <= 10 * _MOST_SPAN_S:
            raise ConfigurationError(f"a budget per {self.per_s:g} s of event time: give up to ten years")

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """`1 per week`, `1 per 2 weeks`, `0.01 per window`, `1e-3 per window`. Raises `ConfigurationError`."""
        match = _BUDGET.fullmatch(text.lower())
        if match is None:
            raise ConfigurationError(
                f"a budget {text[:64]!r}: write it as '1 per week', '1 per 2 weeks', '0.01 per window'"
            )
        number, unit = float(match[1]), match[3]
        units = 1.0 if match[2] is None else float(match[2])
        if not 0 < units < float("inf"):
            raise ConfigurationError(f"a budget {text[:64]!r}: it is spent over {units:g} {unit}s: give more than 0")
        return cls(number / units) if unit == "window" else cls(number, units * _UNITS_S[unit])

    def __str__(self) -> str:
        if self.per_s is None:
            return f"{self.false_alarms:g} per window"
        longest_first = reversed(_UNITS_S.items())
        whole = ((self.per_s / seconds, name) for name, seconds in longest_first if not self.per_s % seconds)
        units, name = next(whole, (self.per_s, "second"))
        return f"{self.false_alarms:g} per {name if units == 1 else f'{units:g} {name}s'}"


class MissingValues(StrEnum):
    """What becomes of values that are missing (NaN): they stay, where the kind takes them; their rows are left out of
    the test, and counted; or the event that brings one is refused."""

    KEEP = "keep"
    DROP = "drop"
    REFUSE = "refuse"


class Compared(StrEnum):
    """What the rows of one window are told apart by, and compared: nothing, so that all are held against the
    reference; the revisions of a service, or its endpoints (canary and default), over the same stretch."""

    NOTHING = "nothing"
    REVISIONS = "revisions"
    ENDPOINTS = "endpoints"


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """`lateness_s` is how far the watermark stays behind the latest event of a key. `level_limit` bounds what a single
    window may spend after a long pause; what is above it is not spent at all. An alert resolves after `resolve_after`
    quiet windows."""

    cut: Cut
    budget: Budget
    lateness_s: float = 2.0
    level_limit: float = 0.05
    resolve_after: int = 2
    missing: MissingValues = MissingValues.KEEP
    compared: Compared = Compared.NOTHING

    def __post_init__(self) -> None:
        if not 0 <= self.lateness_s <= 86400:
            raise ConfigurationError(f"a lateness of {self.lateness_s:g} s: give 0 to a day")
        if not 0 < self.level_limit < 1:
            raise ConfigurationError(f"a level limit of {self.level_limit:g}: give a number between 0 and 1")
        if not 1 <= self.resolve_after <= 1000:
            raise ConfigurationError(f"an alert that resolves after {self.resolve_after} windows: give 1 to 1000")

    def check_follows(self, kind: str) -> None:
        """Raises `ConfigurationError` where windows overlap: a kind with a memory would follow their rows twice."""
        if self.cut.overlaps:
            raise ConfigurationError(
                f"{kind} follows rows one after another, and windows of {self.cut} hold rows more than once: leave"
                " --step out"
            )

    @classmethod
    def of_rows(cls, rows: int, share: float = 0.01) -> "WindowSettings":
        """Windows of `rows` rows that follow each other, of which this share may be flagged where nothing drifts."""
        return cls(CountCut(rows, rows), Budget(share))

    def to_json(self) -> dict[str, Any]:
        """As `detector.json` holds it."""
        if isinstance(self.cut, CountCut):
            cut: dict[str, Any] = {"rows": self.cut.rows, "step": self.cut.step}
        else:
            cut = {"span_s": self.cut.span_s, "step_s": self.cut.step_s}
        return {
            "cut": cut,
            "budget": {"false_alarms": self.budget.false_alarms, "per_s": self.budget.per_s},
            "lateness_s": self.lateness_s,
            "level_limit": self.level_limit,
            "resolve_after": self.resolve_after,
            "missing": self.missing.value,
            "compared": self.compared.value,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "WindowSettings":
        """What `to_json` gave. Raises `KeyError`, `TypeError`, `ValueError` or `ConfigurationError` for all else."""
        cut, budget = fields["cut"], fields["budget"]
        per_s = budget["per_s"]
        return cls(
            CountCut(int(cut["rows"]), int(cut["step"]))
            if "rows" in cut
            else SpanCut(float(cut["span_s"]), float(cut["step_s"])),
            Budget(float(budget["false_alarms"]), None if per_s is None else float(per_s)),
            lateness_s=float(fields["lateness_s"]),
            level_limit=float(fields["level_limit"]),
            resolve_after=int(fields["resolve_after"]),
            missing=MissingValues(fields["missing"]),
            compared=Compared(fields["compared"]),
        )


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """What one process holds of rows that are in no closed window yet: of a key, of all keys, and how many keys.

    `idle_s` is the event time after which a key of which nothing came is given up, its open rows counted.
    """

    key_rows: int = 1 << 20
    key_bytes: int = 256 << 20
    all_bytes: int = 1 << 30
    keys: int = 1024
    idle_s: float = 7 * 86400.0
