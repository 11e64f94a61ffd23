"""Scores a table offline as a service scores events: schema, preprocessing, detector, calibration.

Invariant: scores, p-values and decisions are those that the service gives for the same rows, by the same code. A row
that the service would refuse gets no score here, and is named.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.scoring.calibration import cut
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.scoring.parts import score_parts
from wayside.detectors.scoring.quality import Truths
from wayside.detectors.scoring.score_lines import ScoredRow, Write
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table

NOT_FINITE = "the score is not finite"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What came of a table's rows: of those that were judged, shape (m,), scores, decisions and places in the table."""

    rows: int
    places: NDArray[np.intp]
    scores: Vector
    decisions: Truths

    @property
    def skipped(self) -> int:
        return self.rows - len(self.places)

    @property
    def failed(self) -> int:
        """Judged rows that have no finite score; they are flagged."""
        return int(np.isinf(self.scores).sum())


def code_rows(schema: Schema, table: Table, skip_bad: bool) -> tuple[Matrix, Truths]:
    """The table's coded rows, shape (n, columns), and which of them fit the schema, shape (n,).

    Raises `ConfigurationError` that names the first that does not, unless such are skipped.
    """
    if not skip_bad:
        coded = schema.encode_table(table)
        return coded, np.ones(len(coded), np.bool_)
    coded = schema.align_table(table)
    fits: Truths = np.logical_not(schema.misfits(coded).any(axis=1))
    return coded, fits


def score_table(judge: RowJudge, coded: Matrix, fits: Truths, write: Write) -> Scored:
    """Judge the rows that fit, in their order, and write a line for every row as it goes."""
    with threadpool_limits(1, "blas"):  # as a service has it: with more, a product's last digits are others
        return _score_table(judge, coded, fits, write)


def _score_table(judge: RowJudge, coded: Matrix, fits: Truths, write: Write) -> Scored:
    places = np.flatnonzero(fits)
    scores, decisions, done, written = np.empty(len(places)), np.empty(len(places), np.bool_), 0, 0
    for part in score_parts(judge.detector, judge.preprocessing, coded[places]):
        end = done + len(part)
        scores[done:end] = cut(part)
        p_values = judge.calibration.p_values(scores[done:end])
        decisions[done:end] = judge.calibration.decisions(p_values)
        judged = _judged(places[done:end], scores[done:end], p_values, decisions[done:end])
        until = int(places[end - 1]) + 1
        write(_with_skipped(judged, judge, coded, written, until))
        done, written = end, until
    write(_with_skipped({}, judge, coded, written, len(coded)))
    return Scored(len(coded), places, scores, decisions)


def _judged(places: NDArray[np.intp], scores: Vector, p_values: Vector, decisions: Truths) -> dict[int, ScoredRow]:
    columns = zip(places.tolist(), scores.tolist(), p_values.tolist(), decisions.tolist(), strict=True)
    return {
        row: ScoredRow(row, score, p, decision) if score < np.inf else ScoredRow(row, None, p, decision, NOT_FINITE)
        for row, score, p, decision in columns
    }


def _with_skipped(
    judged: dict[int, ScoredRow], judge: RowJudge, coded: Matrix, start: int, end: int
) -> list[ScoredRow]:
    return [judged.get(row) or _skipped(row, judge, coded[row : row + 1]) for row in range(start, end)]


def _skipped(row: int, judge: RowJudge, coded: Matrix) -> ScoredRow:
    at = int(np.flatnonzero(judge.schema.misfits(coded)[0])[0])
    what = "is infinite" if np.isinf(coded[0, at]) else "is missing"
    return ScoredRow(row, None, None, None, f"{judge.schema.describe(at)}: the value {what}")
