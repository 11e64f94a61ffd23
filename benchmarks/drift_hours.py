"""Time-of-day streams: digits of which more are small numbers by day and large ones by night, week after week.

Invariant: given the hour nothing drifts; every window lies within one hour, so that a test which does not know the hour
sees another mix of digits in each.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from drift_data import Matrix, mnist_by_hour
from drift_null import Case, Counts
from numpy.typing import NDArray

from wayside.detectors.fitting.kind_options import options_of
from wayside.detectors.kinds.protocol import Execution, Sample, WindowDetector, WindowFitContext
from wayside.detectors.kinds.registry import window_detector
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table

_HOUR_S = 3600.0
_SWING = 0.4  # of the share of small digits, around a half
_SMALL = 5


@lru_cache(maxsize=1)
def _digits(data: Path) -> tuple[Matrix, NDArray[np.int64]]:
    found = mnist_by_hour(data)
    assert found is not None, "looked at before"
    return found


def run_hours(case: Case, data: Path, seed: int, windows: int) -> Counts:
    """Alarms of one stream: a reference of ordinary hours, then `windows` windows, each of an hour."""
    rng = np.random.default_rng([seed, 24])
    rows, labels = _digits(data)
    order = rng.permutation(len(rows))
    held = order[: 2 * case.ratio * case.window]
    pools = _by_size(labels, order[len(held) :])
    reference_hours = rng.integers(0, 24, case.ratio * case.window)
    reference = _sample(rows, _by_size(labels, held), reference_hours * _HOUR_S, rng)
    schema = Schema.of(Table.of(reference.rows))
    prepare = Preprocessing.fit(schema, reference.rows).apply
    detector = _fit(case, Sample(prepare(reference.rows), reference.time_s), seed)
    drawn = (_sample(rows, pools, np.full(case.window, hour * _HOUR_S), rng) for hour in _hours(rng))
    alarms = sum(_p_value(detector, prepare, next(drawn)) <= case.level for _ in range(windows))
    return Counts(windows, alarms, -1, windows * case.level)


def _fit(case: Case, reference: Sample, seed: int) -> WindowDetector:
    kind = window_detector(case.kind)
    width = reference.rows.shape[1]
    context = WindowFitContext(seed, window_rows=case.window, categories=(0,) * width, level=case.level)
    fitted = kind.fit(reference, options_of(case.kind, case.options), context)
    return kind.restore(fitted.state(), Execution())


def _p_value(detector: WindowDetector, prepare: object, sample: Sample) -> float:
    return detector.test(Sample(prepare(sample.rows), sample.time_s)).p_value  # type: ignore[operator]


def _hours(rng: np.random.Generator) -> Iterator[float]:
    """Hours since the epoch, one after another with gaps."""
    hour = 0.0
    while True:
        hour += float(rng.integers(1, 4))
        yield hour


def _by_size(labels: NDArray[np.int64], chosen: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    small = labels[chosen] < _SMALL
    return chosen[small], chosen[~small]


def _sample(
    rows: Matrix,
    pools: tuple[NDArray[np.intp], NDArray[np.intp]],
    time_s: NDArray[np.float64],
    rng: np.random.Generator,
) -> Sample:
    share = 0.5 + _SWING * np.cos(2 * np.pi * time_s / (24 * _HOUR_S))
    is_small = rng.uniform(size=len(time_s)) < share
    small, large = pools
    chosen = np.where(is_small, rng.choice(small, len(time_s)), rng.choice(large, len(time_s)))
    return Sample(rows[chosen], time_s + rng.uniform(0, _HOUR_S, len(time_s)))
