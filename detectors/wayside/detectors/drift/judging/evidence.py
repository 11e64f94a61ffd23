"""Which features moved most, and where to: what people are shown of a window that drifted.

How likely a column's move is comes from the test, where it has a view of single features, else from the distance
between the window's values and the reference's summary. The latter decides nothing; it says where to look.

Invariant: a function of the rows, the summary and the test alone; at most `MOST_FEATURES` columns are told, of each at
most `_MOST_CATEGORIES` categories, and at most `MOST_RECORDS` rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.drift.judging.holm import adjusted
from wayside.detectors.drift.judging.summary import TOLD, ReferenceSummary, known, quantiles
from wayside.detectors.drift.transforms.transform import Transform, column_names
from wayside.detectors.kinds.protocol import Matrix, Vector, WindowTest
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.window_findings import MovedFeature, Shares
from wayside.eventing.window_verdict import RowRange

MOST_FEATURES = 5
MOST_RECORDS = 20
_MOST_CATEGORIES = 8
_UNSEEN, _MISSING = "(any other)", "(missing)"


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """How far each column moved: distances and p-values corrected for how many columns there are, shape (columns,)."""

    distance: Vector
    p_value: Vector

    def first(self) -> list[int]:
        """The columns that moved most, by p-value, then by distance, then as they stand."""
        return np.lexsort((-self.distance, self.p_value))[:MOST_FEATURES].tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Of windows of one schema behind one transform."""

    schema: Schema
    transform: Transform

    def moved(self, coded: Matrix, summary: ReferenceSummary, test: WindowTest, level: float) -> list[MovedFeature]:
        """The columns of coded rows, shape (n, columns), that moved most from the summary, the first the most."""
        moves = self._moves(coded, summary, test)
        names = column_names(self.schema)
        return [self._feature(at, names[at], coded[:, at], summary, moves, level) for at in moves.first()]

    def farthest(self, coded: Matrix, summary: ReferenceSummary, first: MovedFeature) -> list[int]:
        """The rows that stand out most in the column that moved most, at most `MOST_RECORDS`, in their order."""
        at = column_names(self.schema).index(first.name)
        scores = self._standing_out(at, coded[:, at], summary)
        return sorted(np.argsort(-scores, kind="stable")[:MOST_RECORDS].tolist())

    def _moves(self, coded: Matrix, summary: ReferenceSummary, test: WindowTest) -> Moves:
        sources = self.transform.sources
        if sources is None or len(test.feature_p_value) != len(sources):
            distance, p_value = summary.distances(coded, self.schema)
            return Moves(distance, adjusted(p_value))
        distance, p_value = _by_column(np.array(sources), test, coded.shape[1])
        return Moves(distance, _of_window(adjusted(p_value), test.p_value))

    def _feature(
        self, at: int, name: str, values: Vector, summary: ReferenceSummary, moves: Moves, level: float
    ) -> MovedFeature:
        p_value = float(moves.p_value[at])
        is_category = at in self.schema.categorical
        reference, window = (self._shares if is_category else _quantiles)(at, values, summary)
        return MovedFeature(name, p_value <= level, float(moves.distance[at]), p_value, reference, window)

    def _shares(self, at: int, codes: Vector, summary: ReferenceSummary) -> tuple[Shares, Shares]:
        """Of the categories whose shares changed most."""
        gains = summary.gains(at, codes, self.schema)
        theirs = np.append(summary.shares_of(at, self.schema) * (1.0 - summary.missing[at]), summary.missing[at])
        names = (*self.schema.columns[at].categories, _UNSEEN, _MISSING)
        chosen = np.argsort(-np.abs(gains), kind="stable")[:_MOST_CATEGORIES].tolist()
        ours = np.clip(theirs + gains, 0.0, 1.0)
        return {names[each]: float(theirs[each]) for each in chosen}, {
            names[each]: float(ours[each]) for each in chosen
        }

    def _standing_out(self, at: int, values: Vector, summary: ReferenceSummary) -> Vector:
        """How much each row adds to the move: its category's gain, or how far out it is on the side it moved to."""
        if at in self.schema.categorical:
            gains = summary.gains(at, values, self.schema)
            unseen = len(gains) - 2
            places = np.where(np.isnan(values), unseen + 1, np.minimum(values, unseen))
            return np.asarray(gains[places.astype(np.int64)])
        ranks = summary.ranks(at, values)
        there = ~np.isnan(values)
        shift = float(ranks[there].mean()) - 0.5 if there.any() else 0.0
        is_missing_more = 1.0 - there.mean() - summary.missing[at] > abs(shift)
        side = 1.0 if shift >= 0 else -1.0
        return np.where(there, side * (ranks - 0.5), 1.0 if is_missing_more else -1.0)


def _quantiles(
    at: int, values: Vector, summary: ReferenceSummary
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    grid, there = summary.grids[at], known(values)
    reference = None if np.isnan(grid[0]) else tuple(grid[list(TOLD)].tolist())
    return reference, tuple(quantiles(there, TOLD).tolist()) if len(there) else None


def _of_window(p_values: Vector, whole: float) -> Vector:
    """Holm's, lowered alike where the window's own p-value knows how columns move together (Westfall and Young): the
    column that moved most has that of the window."""
    least = float(p_values.min())
    return p_values * (whole / least) if 0.0 < whole < least else p_values


def _by_column(sources: NDArray[np.intp], test: WindowTest, columns: int) -> tuple[Vector, Vector]:
    """A column's distance is the largest of its features'; its p-value the least, times how many (Bonferroni)."""
    distance, p_value = np.zeros(columns), np.ones(columns)
    np.maximum.at(distance, sources, test.feature_distance)
    np.minimum.at(p_value, sources, test.feature_p_value)
    return distance, np.minimum(p_value * np.maximum(np.bincount(sources, minlength=columns), 1), 1.0)


def records_of(members: Sequence[RowRange], rows: Sequence[int]) -> list[tuple[str, str, int]]:
    """Rows of a window, by their places in it, as (source, id, row)."""
    ends = np.cumsum([member.end_row - member.first_row for member in members])
    found = []
    for row, at in zip(rows, np.searchsorted(ends, rows, "right").tolist(), strict=True):
        member = members[at]
        found.append((member.source, member.id, int(member.end_row - (ends[at] - row))))
    return found
