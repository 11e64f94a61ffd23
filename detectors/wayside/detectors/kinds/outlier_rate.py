"""`outlier-rate`: whether rows have been outliers more often, for a while, than the outlier detector promised.

Source: Reynolds and Stoumbos, "A CUSUM chart for monitoring a proportion when inspecting continuously", J. Quality
Technology 31 (1999); Bates, Candès, Lei, Romano and Sesia, "Testing for outliers with conformal p-values", Annals of
Statistics 51 (2023): given n calibration rows, the share of ordinary rows with p ≤ alpha is distributed as
Beta(k, n + 1 - k), k = floor((n + 1)·alpha).
Invariant: the null is a share that, given what it is known from, ordinary rows exceed with probability 5 % at most; so
the budget holds at 95 % for this very detector, and for most is kept by a margin.
"""

from dataclasses import dataclass
from math import log
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Execution, Matrix, Sample, State, Vector, WindowFitContext
from wayside.detectors.kinds.sequential.detector import bounded_rows
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.single_column import SingleColumn, one_column
from wayside.detectors.kinds.sequential.worlds import Plan
from wayside.detectors.scoring.calibration import alarm_rank
from wayside.eventing.errors import ConfigurationError

_CONFIDENCE = 0.95
_POOL_ROWS = 1 << 18
_LEAST_SHARE = 1e-5
_STREAMS, _BLOCKS, _BLOCK_ROWS = 1024, 10, 512


@dataclass(frozen=True, slots=True)
class OutlierRateOptions:
    """Rows with p ≤ `alpha` are counted. A share `factor` times the null's is what is to be found fastest.

    `calibration_rows` is how many rows calibrated the outlier detector; 0 where that is not known: then the share is
    bounded by how many of the reference's rows have p ≤ alpha.
    """

    alpha: float = 0.01
    factor: float = 3.0
    calibration_rows: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigurationError(f"alpha is {self.alpha:g}: give a share of rows below 0.5")
        if not 1.2 <= self.factor <= 100:
            raise ConfigurationError(f"factor is {self.factor:g}: give 1.2 to 100 times the usual share")
        if self.calibration_rows and not alarm_rank(self.calibration_rows, self.alpha):
            raise ConfigurationError(
                f"{self.calibration_rows} calibration rows never give p ≤ {self.alpha:g}: give the number of rows that "
                "calibrated, or a larger alpha"
            )


class OutlierRate(SingleColumn):
    """A Bernoulli CUSUM: log-likelihood of a share `raised` against the null's `share`, never below 0."""

    kind: ClassVar[str] = "outlier-rate"
    summary: ClassVar[str] = "p-values of an outlier detector one by one: outliers more often than promised"
    options: ClassVar[type[OutlierRateOptions]] = OutlierRateOptions

    def __init__(self, alpha: float, share: float, raised: float, run_lengths: RunLengths) -> None:
        self._alpha = alpha
        self.share = share
        self._raised = raised
        self._steps = log((1 - raised) / (1 - share)), log(raised / share)
        self._run_lengths = run_lengths

    @classmethod
    def fit(cls, reference: Sample, options: OutlierRateOptions, context: WindowFitContext) -> Self:
        p_values = one_column(cls.kind, reference.rows)
        if not ((p_values >= 0) & (p_values <= 1)).all():
            raise ConfigurationError(
                "outlier-rate takes p-values, from 0 to 1: --from-events LOG --on verdict reads them"
            )
        share = _upper_share(p_values, options)
        raised = min(options.factor * share, (1 + share) / 2)
        unmeasured = cls(options.alpha, share, raised, RunLengths.unmeasured())
        # p-values 0 and 1 in the shares of the null: the pool is large enough to stand for it
        pool = (np.arange(_POOL_ROWS) >= round(share * _POOL_ROWS)).astype(np.float64)
        return cls(
            options.alpha, share, raised, unmeasured.measure(pool, Plan(_STREAMS, _BLOCKS, _BLOCK_ROWS), context)
        )

    def begin(self, streams: int) -> Arrays:
        return {"sum": np.zeros((1, streams))}

    def follow(self, memory: Arrays, values: Matrix) -> tuple[Vector, Arrays]:
        path = np.cumsum(np.where(values <= self._alpha, self._steps[1], self._steps[0]), axis=0)
        lowest = np.minimum(np.minimum.accumulate(path, axis=0), -memory["sum"])
        path -= lowest
        return path.max(axis=0), {"sum": path[-1:]}

    def settling_rows(self, level: float, window_rows: int) -> int:
        """Twice what outliers at the raised rate take on average to be found."""
        gain = self._raised * self._steps[1] + (1 - self._raised) * self._steps[0]
        return bounded_rows(2 * self._run_lengths.height(level, window_rows) / gain)

    def state(self) -> State:
        return self.kept({"shares": [self._alpha, self.share, self._raised]})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        alpha, share, raised = state.arrays["shares"].tolist()
        return cls(alpha, share, raised, RunLengths.restore(state.arrays, "runs"))


def _upper_share(p_values: Vector, options: OutlierRateOptions) -> float:
    """The share of ordinary rows with p ≤ alpha that is exceeded with probability 5 % at most."""
    from scipy.stats import beta  # only fitting needs it

    if options.calibration_rows:
        rank, rows = alarm_rank(options.calibration_rows, options.alpha), options.calibration_rows
        share = beta.ppf(_CONFIDENCE, rank, rows + 1 - rank)
    else:
        flagged = int((p_values <= options.alpha).sum())
        share = beta.ppf(_CONFIDENCE, flagged + 1, len(p_values) - flagged)  # Clopper-Pearson
    return max(float(share), _LEAST_SHARE)
