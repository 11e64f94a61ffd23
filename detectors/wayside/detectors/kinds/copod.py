"""`copod`: how far out in the tails a row's values are, by the empirical copula.

Source: Li, Zhao, Botta, Ionescu and Hu, "COPOD: copula-based outlier detection", ICDM 2020; of a column the larger of
its skew-chosen tail and the mean of both tails counts, as PyOD has it since 0.9.
Invariant: the feature scores of a row sum to its score.
"""

from typing import ClassVar

import numpy as np

from wayside.detectors.kinds.ecod import EmpiricalTails
from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.kinds.tails import skewed_tail


class CopulaTails(EmpiricalTails):
    """ECOD's tables with COPOD's rule."""

    kind: ClassVar[str] = "copod"
    summary: ClassVar[str] = "tail probabilities of the columns, the tail that each is skewed towards"

    @staticmethod
    def combine(left: Vector, right: Vector, skew: int) -> Vector:
        return np.maximum(skewed_tail(left, right, skew), (left + right) / 2)
