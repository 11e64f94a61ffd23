"""What each window of a series may spend of the false-alarm budget: a level that accrues with event time.

A test at level a raises a false alarm with a chance of at most a, so the sum of the levels that a series spends is what
is expected of it where nothing drifts, however its windows depend on each other: expectations add. Accounting is that
and nothing more.

Procedures that control the false discovery rate online (LORD, SAFFRON, ADDIS: Javanmard and Montanari, Annals of
Statistics 46, 2018; Ramdas et al. 2018) are not used on purpose. Their promise is about the share of alarms that are
false, and they earn level by alarms: under a long null, which is what a service should have, no alarm comes, levels
decay towards 0, and drift that comes after a quiet month is tested at next to nothing.

Invariant: levels are exact sums. What accrues is counted in whole nanoseconds of event time (whole windows, where the
budget is a window's); each is spent once or, above the limit, never; so over any stream the levels spent add up to the
rate times the time, within the limit, and no window spends more than the limit.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from wayside.detectors.drift.settings import WindowSettings

_NS = 1_000_000_000
_MOST_UNITS = 1 << 62


@dataclass(frozen=True, slots=True)
class Accrual:
    """How far a series' event time is accounted for, and what of it is not spent: nanoseconds, or windows."""

    upto_ns: int | None = None
    unspent: int = 0

    def to_json(self) -> list[int | None]:
        return [self.upto_ns, self.unspent]

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """Raises `TypeError` or `ValueError`."""
        upto_ns, unspent = value
        if not all(type(each) is int for each in (upto_ns or 0, unspent)) or unspent < 0:
            raise ValueError(f"{str(value)[:64]} is no accrual")
        return cls(upto_ns, unspent)


@dataclass(frozen=True, slots=True)
class Levels:
    """`rate` is the level of one unit, `limit` the most that a window may spend, `limit_units` what accrues at most."""

    rate: float
    limit: float
    is_by_time: bool

    @classmethod
    def of(cls, settings: WindowSettings) -> Self:
        """A budget a window is each window's level; one a time is rate times time, at most `level_limit` a window."""
        budget = settings.budget
        if budget.per_s is None:
            return cls(budget.false_alarms, max(budget.false_alarms, settings.level_limit), is_by_time=False)
        return cls(budget.false_alarms / (budget.per_s * _NS), settings.level_limit, is_by_time=True)

    @property
    def limit_units(self) -> int:
        """As many units as give at least the limit."""
        return math.ceil(min(self.limit / self.rate, _MOST_UNITS)) if self.rate else _MOST_UNITS

    def accrued(self, accrual: Accrual, start_ns: int, budget_ns: int) -> Accrual:
        """The accrual with what a window adds: the time up to its `budget_ns` since that of the window before it,
        since its own `start_ns` where it is the first. Time that was accounted for adds nothing, so that overlapping
        windows, and clocks that run backwards, spend no time twice."""
        upto_ns = start_ns if accrual.upto_ns is None else accrual.upto_ns
        new = max(0, budget_ns - upto_ns) if self.is_by_time else 1
        return Accrual(max(upto_ns, budget_ns), min(accrual.unspent + new, self.limit_units))

    def level(self, accrual: Accrual) -> float:
        """What may be spent now."""
        return min(self.rate * accrual.unspent, self.limit) if accrual.unspent else 0.0


def spent(accrual: Accrual) -> Accrual:
    """The accrual after its level was spent."""
    return replace(accrual, unspent=0)
