"""`context-mmd`: hours that differ are no drift, rows that differ given the hour are; strata, and what has none."""

from typing import Any

import numpy as np
import pytest

from wayside.detectors.kernels.context import Contexts
from wayside.detectors.kinds.context_mmd import ContextMmd, ContextOptions
from wayside.detectors.kinds.protocol import Execution, Sample, WindowFitContext
from wayside.eventing.errors import ConfigurationError

ROWS = 60
MONDAY_S = 4 * 86400.0  # 1970-01-05
QUICK = {"draws": 300, "kept": 200}


def traffic(count: int, seed: int, first_h: float = 0.0, span_h: float = 24.0, shift: float = 0.0) -> Sample:
    """Rows whose first two columns go round a circle in a day, in the order of their times."""
    random = np.random.default_rng(seed)
    hours = np.sort(first_h + random.uniform(0, span_h, count))
    rows = random.normal(size=(count, 4))
    rows[:, 0] += 2 * np.sin(hours / 12 * np.pi) + shift
    rows[:, 1] += 2 * np.cos(hours / 12 * np.pi)
    return Sample(rows, MONDAY_S + 3600 * hours)


@pytest.fixture(scope="module")
def hourly() -> ContextMmd:
    context = WindowFitContext(window_rows=ROWS)
    return ContextMmd.fit(traffic(3600, 1), ContextOptions(**QUICK), context)  # type: ignore[arg-type]


@pytest.mark.parametrize("span_h", [1.0, 4.0, 24.0])
def test_other_hours_than_the_references_keep_the_level(hourly: ContextMmd, span_h: float) -> None:
    windows = [traffic(ROWS, 100 + seed, first_h=seed % 24, span_h=span_h) for seed in range(200)]
    p_values = np.array([hourly.test(window).p_value for window in windows])
    assert (p_values <= 0.05).mean() < 0.1
    assert (p_values <= 0.01).mean() < 0.03


@pytest.mark.parametrize(("first_h", "span_h"), [(3.0, 4.0), (14.0, 6.0), (0.0, 24.0)])
def test_rows_that_differ_given_the_hour_are_drift(hourly: ContextMmd, first_h: float, span_h: float) -> None:
    assert hourly.test(traffic(ROWS, 5, first_h, span_h, shift=1.2)).p_value < 1e-3


def test_afternoon_rows_at_night_are_drift_though_they_are_ordinary_rows(hourly: ContextMmd) -> None:
    rows = traffic(ROWS, 6, first_h=14, span_h=4)
    assert hourly.test(rows).p_value > 0.01
    assert hourly.test(Sample(rows.rows, rows.time_s - 12 * 3600)).p_value < 1e-6


def test_two_samples_are_compared_within_their_hours(hourly: ContextMmd) -> None:
    stable, other_hours = traffic(400, 7), traffic(200, 8, first_h=6, span_h=12)
    assert hourly.compare(stable, other_hours).p_value > 0.02
    assert hourly.compare(stable, traffic(200, 9, first_h=6, span_h=12, shift=1.5)).p_value < 1e-3


def test_a_restored_detector_says_the_same_to_the_last_bit(hourly: ContextMmd) -> None:
    again, window = ContextMmd.restore(hourly.state(), Execution()), traffic(ROWS, 10, shift=0.3)
    assert (hourly.test(window).statistic, hourly.test(window).p_value) == (
        again.test(window).statistic,
        again.test(window).p_value,
    )
    assert again.described() == hourly.described()


def test_rows_of_unknown_time_are_left_out_and_none_but_those_are_no_test(hourly: ContextMmd) -> None:
    window = traffic(ROWS, 11)
    partly = Sample(window.rows, np.where(np.arange(ROWS) < 20, np.nan, window.time_s))
    assert hourly.test(partly).p_value == hourly.test(window.take(slice(20, None))).p_value
    with pytest.raises(ValueError, match="0 rows are of a context that the reference has"):
        hourly.test(Sample.untimed(window.rows))


def test_a_column_of_segments_is_a_context() -> None:
    random = np.random.default_rng(3)

    def mixed(count: int, share: float, shift: float = 0.0) -> Sample:
        segment = (random.random(count) < share).astype(float)
        return Sample.untimed(np.stack([segment, random.normal(size=count) + 4 * segment + shift], axis=1))

    options: dict[str, Any] = {"context": "0", **QUICK}
    detector = ContextMmd.fit(mixed(3000, 0.3), ContextOptions(**options), WindowFitContext(window_rows=ROWS))
    assert detector.test(mixed(ROWS, 0.9)).p_value > 0.01
    assert detector.test(mixed(ROWS, 0.9, shift=1.5)).p_value < 1e-3
    unseen = mixed(ROWS, 0.5)
    unseen.rows[:, 0] = 7.0
    with pytest.raises(ValueError, match="0 rows"):
        detector.test(unseen)


@pytest.mark.parametrize(
    ("named", "time_h", "stratum"),
    [("hour", 0.0, 0), ("hour", 23.99, 23), ("hour", 49.5, 1), ("weekday-hour", 0.5, 0), ("weekday-hour", 167.0, 167)],
)
def test_strata_are_hours_of_utc_from_monday_on(named: str, time_h: float, stratum: int) -> None:
    times = MONDAY_S + 3600 * np.repeat(np.arange(168) + 0.5, 120)
    contexts = Contexts.fit(named, Sample(np.zeros((len(times), 1)), times))
    some = Sample(np.zeros((1, 1)), np.array([MONDAY_S + 3600 * time_h]))
    assert contexts.strata(some).tolist() == [stratum]
    assert contexts.basis(some).sum() == pytest.approx(1.0)


def test_hours_of_few_rows_are_joined_with_those_after_them() -> None:
    times = 3600 * (np.repeat([0, 1, 2, 3, 20], [100, 30, 40, 60, 10]) + 0.5)
    contexts = Contexts.fit("hour", Sample(np.zeros((240, 1)), times))
    assert contexts.count == 2
    assert contexts.strata(Sample(np.zeros((240, 1)), times)).tolist() == [0] * 100 + [1] * 140


@pytest.mark.parametrize(
    ("named", "said"), [("hour", "needs the time"), ("region", "or a column"), ("0", "segments"), ("9", "0 to 3")]
)
def test_a_context_that_the_reference_has_not_is_refused(named: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Contexts.fit(named, Sample.untimed(traffic(500, 1).rows))
