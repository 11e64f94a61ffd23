"""The kinds on kernels: what they see, what they keep, what they refuse; their level over draws of one reference."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from wayside.detectors.kernels.null import in_stretches
from wayside.detectors.kernels.stretches import stretch_rows
from wayside.detectors.kinds.protocol import (
    ComparesSamples,
    Device,
    Execution,
    Sample,
    WindowDetector,
    WindowFitContext,
    WindowTest,
)
from wayside.detectors.kinds.reference_windows import ReferenceOptions, split_of
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.errors import ConfigurationError

KINDS = ("mmd", "lsdd", "classifier")
FEATURES, ROWS = 5, 60
QUICK = {"draws": 400, "kept": 300, "permutations": 199}


def rows_of(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, FEATURES))
    rows[:, 0] += shift
    return rows


def fitted(kind: str, rows: np.ndarray | None = None, window_rows: int | None = ROWS, **options: Any) -> Any:
    found = window_detector(kind)
    reference = Sample.untimed(rows_of(1800, 1) if rows is None else rows)
    return found.fit(reference, found.options(**{**QUICK, **options}), WindowFitContext(window_rows=window_rows))


@pytest.fixture(scope="module", params=KINDS)
def detector(request: pytest.FixtureRequest) -> Any:
    return fitted(request.param)


def outcome_of(detector: WindowDetector, rows: np.ndarray) -> WindowTest:
    return detector.test(Sample.untimed(rows))


def test_a_window_that_moved_is_told_far_below_the_draws(detector: Any) -> None:
    ordinary, moved = (outcome_of(detector, rows_of(ROWS, 7, shift)) for shift in (0.0, 1.5))
    assert moved.p_value < 1e-5 < 0.01 < ordinary.p_value
    assert moved.statistic > ordinary.statistic
    assert moved.least_p_value <= 1e-9


def test_the_level_holds_for_one_reference(detector: Any) -> None:
    p_values = np.array([outcome_of(detector, rows_of(ROWS, 1000 + seed)).p_value for seed in range(600)])
    assert 0.5 < (p_values <= 0.1).mean() / 0.1 < 1.6
    assert (p_values <= 0.01).mean() < 0.03


@pytest.fixture(scope="module", params=KINDS)
def alike(request: pytest.FixtureRequest) -> Any:
    return fitted(request.param, rows_of_days(1800, 3))


def rows_of_days(count: int, seed: int) -> np.ndarray:
    """Ten rows in turn share what their day was like."""
    random = np.random.default_rng(seed)
    days = np.repeat(random.normal(size=(count // 10, FEATURES)), 10, axis=0)
    return days + 0.5 * random.normal(size=(count, FEATURES))


def test_rows_that_are_alike_where_they_lie_together_keep_the_level(alike: Any) -> None:
    p_values = np.array([outcome_of(alike, rows_of_days(ROWS, 3000 + seed)).p_value for seed in range(300)])
    assert 0.2 < (p_values <= 0.1).mean() / 0.1 < 2.0
    assert (p_values <= 0.01).mean() < 0.04
    assert outcome_of(alike, rows_of_days(ROWS, 9) + 3.0).p_value < 0.01
    assert "by stretches of" in alike.described()


def test_rows_taken_for_independent_though_they_are_alike_alarm_without_drift() -> None:
    detector = fitted("mmd", rows_of_days(1800, 3), dependence=False)
    p_values = np.array([outcome_of(detector, rows_of_days(ROWS, 3000 + seed)).p_value for seed in range(50)])
    assert (p_values <= 0.01).mean() > 0.5
    assert "alike" not in detector.described()


def test_independent_rows_have_no_stretches(detector: Any) -> None:
    assert "alike" not in detector.described()


@pytest.mark.parametrize("seed", range(5))
def test_stretches_are_of_what_is_alike(seed: int) -> None:
    assert stretch_rows(rows_of(1800, seed), ROWS, seed) == 1
    assert 10 <= stretch_rows(rows_of_days(1800, seed), ROWS, seed) <= ROWS


@pytest.mark.parametrize("rows", [240, 1800])
def test_kept_rows_and_those_that_calibrate_are_of_different_stretches(rows: int) -> None:
    kept, holding = split_of(rows, 400, 20, 1)
    assert len(kept) == min(400, rows // 4 // 20 * 20)
    assert not set((kept // 20).tolist()) & set((holding // 20).tolist())
    drawn = in_stretches(len(holding), 20).draw(50, np.random.default_rng(0))
    assert len(np.unique(drawn)) == 50
    assert (np.diff(drawn[:20]) % len(holding) == 1).all()


def test_windows_of_another_size_than_the_fitted_hold_the_level_too(detector: Any) -> None:
    p_values = np.array([outcome_of(detector, rows_of(23, 2000 + seed)).p_value for seed in range(400)])
    assert 0.3 < (p_values <= 0.1).mean() / 0.1 < 1.6


def test_a_longer_window_is_measured_by_rows_at_even_distances(detector: Any) -> None:
    assert outcome_of(detector, np.repeat(rows_of(ROWS, 8), 2, axis=0)).p_value > 0.01
    assert outcome_of(detector, rows_of(5 * ROWS, 9, 1.5)).p_value < 1e-5


def test_a_restored_detector_says_the_same_to_the_last_bit(detector: Any) -> None:
    again = type(detector).restore(detector.state(), Execution())
    for shift in (0.0, 0.4, 3.0, 1e12):
        window = rows_of(ROWS, 11, shift)
        assert outcome_of(detector, window).p_value == outcome_of(again, window).p_value
        assert outcome_of(detector, window).statistic == outcome_of(again, window).statistic
    assert again.described() == detector.described()


def test_the_state_is_a_sample_of_the_reference_not_all_of_it(detector: Any) -> None:
    sizes = {name: array.nbytes for name, array in detector.state().arrays.items()}
    assert len(detector.state().arrays["kept"]) <= 300
    assert sum(sizes.values()) < 300_000


def test_two_samples_are_compared_by_permutations_and_a_tail(detector: Any) -> None:
    assert isinstance(detector, ComparesSamples)
    stable, canary, moved = (Sample.untimed(rows_of(90, seed, shift)) for seed, shift in ((1, 0), (2, 0), (3, 2.0)))
    alike, apart = detector.compare(stable, canary), detector.compare(stable, moved)
    assert alike.p_value > 0.02
    assert apart.p_value < 1e-4
    assert detector.compare(stable, moved).p_value == apart.p_value


@pytest.mark.parametrize("value", [1e12, -1e300, 1.7e308])
def test_a_value_beyond_all_measure_is_drift_not_a_fault(detector: Any, value: float) -> None:
    window = rows_of(ROWS, 12)
    window[:40, 1] = value
    assert outcome_of(detector, window).p_value < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_permutations_tell_no_less_than_one_in_their_number(kind: str) -> None:
    detector = fitted(kind, null="permutation", permutations=99)
    outcome = outcome_of(detector, rows_of(ROWS, 13, 3.0))
    assert (outcome.p_value, outcome.least_p_value) == (0.01, 0.01)
    assert outcome_of(detector, rows_of(ROWS, 14)).p_value > 0.02
    assert "99 permutations" in detector.described()


def test_permutations_that_cannot_resolve_the_level_are_refused_with_the_number_needed() -> None:
    mmd = window_detector("mmd")
    context = WindowFitContext(window_rows=ROWS, level=1e-4)
    with pytest.raises(ConfigurationError, match="permutations=9999"):
        mmd.fit(Sample.untimed(rows_of(1800, 1)), mmd.options(null="permutation"), context)


@pytest.mark.parametrize("kind", KINDS)
def test_spans_of_time_have_windows_of_any_size(kind: str) -> None:
    detector = fitted(kind, rows_of(900, 1), window_rows=None)
    for count in (detector.least_rows, 41, 300):
        assert outcome_of(detector, rows_of(count, count)).p_value > 1e-3
        assert outcome_of(detector, rows_of(count, count, 6.0)).p_value < 1e-3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_of(30, 1), "at least 40 rows"),
        (rows_of(200, 1), "give a reference of 1200 rows"),
        (np.ones((2000, 3)), "every row"),
        (np.where(np.arange(6000).reshape(2000, 3) == 9, np.nan, 1.0), "finite"),
    ],
    ids=["few rows", "few windows", "one row's copies", "missing values"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_that_bears_no_test_is_refused(kind: str, rows: np.ndarray, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        fitted(kind, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_and_rows_that_mostly_coincide_are_no_fault(kind: str) -> None:
    random = np.random.default_rng(2)
    tied = np.hstack([np.ones((1800, 1)), (random.random((1800, 3)) < 0.1).astype(float)])  # three in four alike
    detector = fitted(kind, tied)
    p_values = [outcome_of(detector, tied[random.choice(1800, ROWS)]).p_value for _ in range(150)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.12
    assert outcome_of(detector, 1.0 - tied[:ROWS]).p_value < 1e-6


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("mmd", {"null": "asymptotic"}, "null"),
        ("mmd", {"kept": 5}, "kept"),
        ("mmd", {"draws": 10}, "draws"),
        ("mmd", {"permutations": 1}, "permutations"),
        ("mmd", {"most_rows": 1}, "most_rows"),
        ("mmd", {"width": -1.0}, "width"),
        ("lsdd", {"centres": 1}, "centres"),
        ("classifier", {"features": 0}, "features"),
    ],
)
def test_an_option_out_of_range_is_refused(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        window_detector(kind).options(**options)


def test_a_level_that_no_tail_bears_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the fitted tail ends"):
        window_detector("mmd").fit(
            Sample.untimed(rows_of(1800, 1)), ReferenceOptions(), WindowFitContext(window_rows=ROWS, level=1e-12)
        )


def test_a_broken_state_is_refused(detector: Any) -> None:
    state = detector.state()
    for name in ("kept", "null.draws", "numbers"):
        arrays = dict(state.arrays)
        del arrays[name]
        with pytest.raises((KeyError, ValueError)):
            type(detector).restore(type(state)(arrays), Execution())


def test_a_gpu_that_is_not_there_is_refused(detector: Any) -> None:
    with pytest.raises(ConfigurationError, match="cpu"):
        type(detector).restore(detector.state(), Execution(Device.GPU))


def test_serving_imports_nothing_that_only_fits_need() -> None:
    names = [f"wayside.detectors.kinds.{each}" for each in ("mmd", "lsdd", "classifier", "context_mmd")]
    code = f"import sys, {', '.join(names)}; print([n for n in ('sklearn', 'scipy', 'keras') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
