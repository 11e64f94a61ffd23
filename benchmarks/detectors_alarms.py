"""False alarms: the rate asked for against the rate measured, over many splits of the tables that are large enough.

Source: for n calibration rows and m fresh ones, all exchangeable and none of them tied, the number of fresh rows among
the alarms is beta-binomial (m, k, n + 1 - k) with k = floor((n + 1)·alpha): Vovk (2012), as in scoring/calibration.py.
Invariant: a detector is fitted and calibrated anew in each split, by the code that `wayside fit` runs; no row that is
counted took part in that. Ties can only lower the rate, so above and below the interval are told apart.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from detectors_data import Labelled, Matrix
from detectors_document import Grid
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.scoring.calibration import Interval, measured_interval, rows_needed
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.table import Table

SPLITS = 200
WANTED = 172  # of 200: what chance alone undercuts in 1 of 40 runs, where each split holds at 90 %
KINDS = ("knn", "mahalanobis", "ecod", "pca")  # a forest takes longer to fit 2 000 times than all of these
_ALPHAS = (0.01, 0.05)
_MOST_FITTED, _MOST_CALIBRATING, _MOST_TESTED = 512, 1999, 2000
_AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows of a split."""

    fitted: int
    calibrating: int
    tested: int
    alpha: float

    @classmethod
    def of(cls, ordinary: int) -> "Sizes | None":
        """For a table with so many ordinary rows; None where they are too few for any budget."""
        third = ordinary // 3
        for alpha in _ALPHAS:
            if third >= rows_needed(alpha):
                return cls(min(third, _MOST_FITTED), min(third, _MOST_CALIBRATING), min(third, _MOST_TESTED), alpha)
        return None


@dataclass(frozen=True, slots=True)
class Alarms:
    """Rates of one kind on one table, a split each, with the interval that was promised for them."""

    table: str
    kind: str
    sizes: Sizes
    interval: Interval
    rates: tuple[float, ...]

    @property
    def above(self) -> int:
        return sum(rate > self.interval.high for rate in self.rates)

    @property
    def below(self) -> int:
        return sum(rate < self.interval.low for rate in self.rates)

    @property
    def inside(self) -> int:
        return len(self.rates) - self.above - self.below

    def line(self) -> tuple[str, ...]:
        wanted = round(WANTED * len(self.rates) / SPLITS)
        promised = f"{self.interval.low:.4f} to {self.interval.high:.4f}"
        figures = (f"{self.sizes.alpha:g}", promised, f"{np.median(self.rates):.4f}")
        counts = (str(self.inside), str(self.above), str(self.below))
        by_chance = (len(self.rates) - wanted) / 2  # on either side
        verdict = "met" if self.inside >= wanted else "fewer" if self.above <= by_chance else "SHORT"
        return (f"{self.table}, {self.kind}", *figures, *counts, verdict)


def false_alarms(table: str, kind: str, ordinary: Matrix, sizes: Sizes, splits: int) -> Alarms:
    """Measure. Splits are numbered, and a split follows from its number."""
    with threadpool_limits(1):
        rates = tuple(_rate(kind, ordinary, sizes, seed) for seed in range(splits))
    interval = measured_interval(sizes.calibrating, sizes.alpha, sizes.tested)
    return Alarms(table, kind, sizes, interval, rates)


def _rate(kind: str, ordinary: Matrix, sizes: Sizes, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(ordinary))
    given = sizes.fitted + sizes.calibrating
    rows, fresh = ordinary[order[:given]], ordinary[order[given : given + sizes.tested]]
    settings = FitSettings(alpha=sizes.alpha, holdout=sizes.calibrating / given, seed=seed)
    report = fit_artifact(kind, Table.of(rows), settings)
    assert report.calibration_rows == sizes.calibrating, "the interval is that of the rows that calibrated"
    judge = RowJudge.of(report.artifact)
    return float(np.mean(judge.verdict(judge.score(fresh)).decisions))


def measure(tables: Sequence[Labelled], kinds: Sequence[str], splits: int, progress: Progress) -> Iterator[Alarms]:
    """Every kind on every table that is large enough, in the order given."""
    large = [(table, sizes) for table in tables if (sizes := Sizes.of(len(table.ordinary)))]
    bar = progress.add_task("false alarms", total=len(large) * len(kinds))
    with ProcessPoolExecutor(_AT_A_TIME, get_context("spawn")) as pool:
        runs = [
            pool.submit(false_alarms, table.name, kind, _some(table.ordinary), sizes, splits)
            for table, sizes in large
            for kind in kinds
        ]
        for _ in as_completed(runs):
            progress.advance(bar)
        yield from (run.result() for run in runs)


def _some(ordinary: Matrix) -> Matrix:
    """So many rows that splits of them hardly overlap, and no more than need travel to another process."""
    return ordinary[np.random.default_rng(0).permutation(len(ordinary))[:50_000]]


def grid(alarms: Sequence[Alarms]) -> Grid:
    """A line a table and kind."""
    columns = ("table, kind", "asked", "90 % interval", "median", "inside", "above", "below", "")
    note = (
        f"Splits inside the interval, above it and below it, of {len(alarms[0].rates)}; {WANTED} of {SPLITS} inside are"
        " wanted."
        " A tie is never an alarm: many equal rows give fewer than were asked for, never more."
        if alarms
        else ""
    )
    return Grid(columns, tuple(each.line() for each in alarms), note)
