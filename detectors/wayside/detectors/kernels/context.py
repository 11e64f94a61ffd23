"""Which context each row of a sample stands in: the hour of its day, of its week, or a segment by a column's value.

Source: hours and weekdays are UTC's, as times are seconds since the epoch, a Thursday. Contexts of few reference rows
are joined with those beside them, so that each stratum bears a mean of its own.
Invariant: a row's stratum depends on the row and its time alone; -1 says that its context has no reference.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Sample, Vector
from wayside.eventing.errors import ConfigurationError

HOUR, WEEKDAY_HOUR = "hour", "weekday-hour"
LEAST_STRATUM_ROWS = 100

_MOST_SEGMENTS = 256
_MOST_TOLD = 8  # columns by name, where none is the one
_DAY_HOURS, _HOUR_S = 24, 3600.0
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday: Monday is 0

Strata = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """`column` is -2 for hours of the day, -1 for hours of the week, else the place of the column that holds segments,
    whose values are in `values`, rising. `joined` says each context's stratum, -1 for none."""

    column: int
    values: Vector
    joined: Strata

    @classmethod
    def fit(cls, named: str, reference: Sample, names: tuple[str, ...] = ()) -> Self:
        """`names` are the columns', where they have any.

        Raises `ConfigurationError` where times are missing, or the column is none of segments.
        """
        column = {HOUR: -2, WEEKDAY_HOUR: -1}.get(named)
        if column is not None:
            if not np.isfinite(reference.time_s).all():
                raise ConfigurationError(
                    f"context={named} needs the time of every reference row: fit from events, or give context=COLUMN"
                )
            hours = 24 if named == HOUR else 168
            codes = cls(column, np.empty(0), np.arange(hours))._codes(reference)
            return cls(column, np.empty(0), _join_circle(np.bincount(codes, minlength=hours)))
        place = names.index(named) if named in names else _place(named, reference.rows, names)
        values, counts = np.unique(reference.rows[:, place], return_counts=True)
        if not 2 <= len(values) <= _MOST_SEGMENTS:
            raise ConfigurationError(
                f"context column {place} has {len(values)} values: segments are 2 to {_MOST_SEGMENTS}"
            )
        return cls(place, values, _join_rare(counts))

    @property
    def count(self) -> int:
        """How many strata there are."""
        return int(self.joined.max()) + 1

    def strata(self, sample: Sample) -> Strata:
        """Of each row, shape (n,)."""
        codes = self._codes(sample)
        found: Strata = np.where(codes >= 0, self.joined[np.maximum(codes, 0)], -1)
        return found

    def basis(self, sample: Sample) -> Matrix:
        """How much of each stratum's mean a row's own is, (n, strata), each row's sum 1; for rows of known strata.

        Between the middles of two strata of hours it goes from one to the other: nothing jumps at the full hour.
        """
        strata = self.strata(sample)
        if self.column >= 0 or self.count == 1:
            return np.eye(self.count)[strata]
        period = float(len(self.joined))
        middles = _middles(self.joined)
        at = np.mod(_hours_of(sample.time_s, period) - middles[0], period)
        places = np.concatenate([middles - middles[0], [period]])
        low = np.searchsorted(places, at, "right") - 1
        high_share = (at - places[low]) / (places[low + 1] - places[low])
        found = np.zeros((len(at), self.count))
        found[np.arange(len(at)), low] = 1.0 - high_share
        found[np.arange(len(at)), (low + 1) % self.count] += high_share
        return found

    def arrays(self) -> dict[str, Array]:
        """All of it."""
        return {
            "context.column": np.array([self.column]),
            "context.values": self.values,
            "context.joined": self.joined,
        }

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """What `arrays` gave. Raises `KeyError` or `ValueError`."""
        column, values, joined = (arrays[f"context.{name}"] for name in ("column", "values", "joined"))
        contexts = len(values) if column[0] >= 0 else 24 if column[0] == -2 else 168
        if joined.shape != (contexts,) or joined.max() < 0:
            raise ValueError(f"'context.joined' has shape {joined.shape} for {contexts} contexts")
        return cls(int(column[0]), values, joined.astype(np.int64))

    def _codes(self, sample: Sample) -> Strata:
        if self.column < 0:
            known = np.isfinite(sample.time_s)
            hours = np.floor(_hours_of(np.where(known, sample.time_s, 0.0), float(len(self.joined))))
            return np.where(known, hours, -1).astype(np.int64)
        cells = sample.rows[:, self.column]
        places = np.minimum(np.searchsorted(self.values, cells), len(self.values) - 1)
        found: Strata = np.where(self.values[places] == cells, places, -1)
        return found


def _hours_of(time_s: Vector, period: float) -> Vector:
    """Hours since midnight, or where the period is a week since its Monday began."""
    days = _FIRST_WEEKDAY if period > _DAY_HOURS else 0
    return np.mod(time_s / _HOUR_S + _DAY_HOURS * days, period)


def _middles(joined: Strata) -> Vector:
    """The middle of each stratum of successive hours."""
    return np.array([np.flatnonzero(joined == at).mean() + 0.5 for at in range(int(joined.max()) + 1)])


def _place(named: str, rows: Matrix, names: tuple[str, ...]) -> int:
    if not named.isdigit() or int(named) >= rows.shape[1]:
        known = f"a column ({', '.join(names[:_MOST_TOLD])})" if names else "a column"
        raise ConfigurationError(
            f"context is {named!r}: give {HOUR}, {WEEKDAY_HOUR}, or {known}, or its place, 0 to {rows.shape[1] - 1}"
        )
    return int(named)


def _join_circle(counts: Strata) -> Strata:
    """Hours in turn, joined until each stratum has rows enough; what is left at the end goes to the last."""
    joined, at, held = np.empty(len(counts), np.int64), 0, 0
    for hour, count in enumerate(counts.tolist()):
        joined[hour] = at
        held += count
        if held >= LEAST_STRATUM_ROWS:
            at, held = at + 1, 0
    if at == 0:
        raise ConfigurationError(
            f"{int(counts.sum())} reference rows: a context needs {LEAST_STRATUM_ROWS}, and there should be several"
        )
    return np.minimum(joined, at - 1)


def _join_rare(counts: Strata) -> Strata:
    """Segments with rows enough, and one stratum of all others where those have enough together."""
    enough = counts >= LEAST_STRATUM_ROWS
    joined = np.where(enough, np.cumsum(enough) - 1, -1)
    if counts[~enough].sum() >= LEAST_STRATUM_ROWS:
        joined[~enough] = int(enough.sum())
    if joined.max() < 0:
        raise ConfigurationError(f"no segment of the context column has {LEAST_STRATUM_ROWS} reference rows")
    return joined
