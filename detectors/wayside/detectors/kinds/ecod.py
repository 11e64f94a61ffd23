"""`ecod`: how far out in the tails a row's values are, summed over columns as if these were independent.

Source: Li, Zhao, Hu, Botta, Ionescu and Chen, "ECOD: unsupervised outlier detection using empirical cumulative
distribution functions", IEEE TKDE 35 (2022); of a column the largest of its left, right and skew-chosen tail counts.
Invariant: the feature scores of a row sum to its score.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.neighbours import REFERENCE_ROWS, choose_reference
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.detectors.kinds.tails import TailTables, skewed_tail, sorted_columns
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class TailOptions:
    """`reference_rows` bounds the rows whose values are kept: more are drawn from by the seed."""

    reference_rows: int = REFERENCE_ROWS

    def __post_init__(self) -> None:
        if self.reference_rows < 2:
            raise ConfigurationError(f"reference_rows is {self.reference_rows}: give 2 or more")


class EmpiricalTails(RowDetector):
    """ECOD, and with another `combine` COPOD."""

    kind: ClassVar[str] = "ecod"
    summary: ClassVar[str] = "tail probabilities of the columns, the further tail of each"
    options: ClassVar[type[TailOptions]] = TailOptions
    gives_feature_scores: ClassVar[bool] = True

    def __init__(self, tables: TailTables) -> None:
        self._tables = tables

    @staticmethod
    def combine(left: Vector, right: Vector, skew: int) -> Vector:
        """What a value adds, from the -log of its two tails."""
        return np.maximum(np.maximum(left, right), skewed_tail(left, right, skew))

    @property
    def features(self) -> int:
        return len(self._tables.columns)

    @classmethod
    def fit(cls, rows: Matrix, options: TailOptions, context: FitContext) -> Self:
        reference = choose_reference(rows, options.reference_rows, context.seed)
        return cls(TailTables(*sorted_columns(cls.kind, reference), cls.combine))

    def score(self, rows: Matrix) -> Vector:
        total: Vector = self.feature_scores(rows).sum(axis=1)
        return total

    def feature_scores(self, rows: Matrix) -> Matrix:
        return self._tables.look_up(rows)

    def state(self) -> State:
        return State({"columns": self._tables.columns, "skew": self._tables.skew})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(TailTables(state.arrays["columns"], state.arrays["skew"], cls.combine))
