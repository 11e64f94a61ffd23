"""Kinds that follow rows one after another: their statistics, their memories, and their false alarms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.detectors.kinds.cusum import follow
from wayside.detectors.kinds.cvm_online import statistics
from wayside.detectors.kinds.mmd_online import kernel
from wayside.detectors.kinds.protocol import Execution, Sample, SequentialDetector
from wayside.detectors.kinds.registry import window_detector
from wayside.detectors.kinds.sequential.scores import ColumnScores
from wayside.eventing.errors import ConfigurationError

from .sequential_streams import advance, alarms, fit
from .sequential_streams import three_columns as reference

KINDS = ("cusum", "cvm-online", "mmd-online")


@pytest.fixture
def fitted(row_detectors: dict) -> dict:
    return row_detectors


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_without_drift_keeps_the_budget(fitted: dict, kind: str) -> None:
    windows = 40 if kind == "mmd-online" else 150
    found = alarms(fitted[kind], reference(100 * windows, seed=2), level=0.1)
    assert 0.02 * windows <= len(found) <= 0.24 * windows


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_is_found_at_a_level_far_beyond_what_was_simulated(fitted: dict, kind: str) -> None:
    rows = reference(3000, seed=3)
    rows[1000:, 0] += 1.0
    found = alarms(fitted[kind], rows, level=1e-5)
    assert found
    assert 10 <= found[0] <= 16


@pytest.mark.parametrize("kind", KINDS)
def test_state_restores_to_the_same_bits(fitted: dict, kind: str) -> None:
    detector, window = fitted[kind], Sample.untimed(reference(100, seed=4))
    again = window_detector(kind).restore(detector.state(), Execution())
    one, other = detector.test(window), again.test(window)
    assert (one.statistic, one.p_value) == (other.statistic, other.p_value)
    np.testing.assert_array_equal(one.feature_p_value, other.feature_p_value)
    assert isinstance(again, SequentialDetector)
    assert again.features == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_does_not_hang_on_where_windows_are_cut(fitted: dict, kind: str) -> None:
    rows = reference(700, seed=5)
    (whole,), parts = advance(fitted[kind], rows, 700), advance(fitted[kind], rows, 7)
    assert max(part.statistic for part in parts) == pytest.approx(whole.statistic, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_is_finite_float64_of_one_shape(fitted: dict, kind: str) -> None:
    detector = fitted[kind]
    rows = reference(30, seed=6)
    rows[3, 0] = np.nan if kind != "mmd-online" else 1e6
    _, memory = detector.advance(detector.memory(), Sample.untimed(rows))
    for name, start in detector.memory().items():
        assert memory[name].shape == start.shape
        assert memory[name].dtype == np.float64
        assert np.isfinite(memory[name]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_of_another_detector_is_refused(fitted: dict, kind: str) -> None:
    window = Sample.untimed(reference(10))
    with pytest.raises(KeyError):
        fitted[kind].advance({}, window)
    with pytest.raises(ValueError, match="has shape"):
        fitted[kind].advance({name: np.zeros(1) for name in fitted[kind].memory()}, window)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_tell_nothing(fitted: dict, kind: str) -> None:
    outcome, memory = fitted[kind].advance(fitted[kind].memory(), Sample.untimed(np.empty((0, 3))))
    assert outcome.p_value == 1.0
    assert memory.keys() == fitted[kind].memory().keys()


@pytest.mark.parametrize("kind", KINDS)
def test_too_small_a_reference_is_refused_with_what_is_needed(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"needs \d+ reference rows|needs \d+ reference rows or more"):
        fit(kind, reference(400))


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("cusum", "allowance", 0.0),
        ("cvm-online", "window_size", 2),
        ("mmd-online", "window_size", 2),
        ("mmd-online", "reference_rows", 100),
        ("adwin", "clock", 0),
        ("adwin", "max_rows", 1),
        ("ddm", "warm_start", 0),
        ("ddm", "horizon", 1),
        ("kswin", "stat_size", 299),
        ("outlier-rate", "alpha", 0.0),
        ("outlier-rate", "factor", 1.0),
        ("outlier-rate", "calibration_rows", 10),
    ],
)
def test_options_out_of_range_are_refused(kind: str, option: str, value: float) -> None:
    with pytest.raises(ConfigurationError):
        window_detector(kind).options(**{option: value})


@pytest.mark.parametrize("kind", ["cusum"])
def test_a_constant_column_alarms_at_nothing_and_still_sees_what_it_never_held(kind: str) -> None:
    rows = reference(600)
    rows[:, 1] = 7.0
    detector = fit(kind, rows)
    window = reference(100, seed=8)
    window[:, 1] = 7.0
    assert detector.test(Sample.untimed(window)).p_value > 1e-3
    window[:, 1] = 8.0
    assert detector.test(Sample.untimed(window)).p_value < 1e-3


@pytest.mark.parametrize("kind", ["cusum", "cvm-online"])
def test_missing_values_count_as_the_largest(fitted: dict, kind: str) -> None:
    missing, largest = reference(100, seed=9), reference(100, seed=9)
    missing[:40, 0], largest[:40, 0] = np.nan, 1e300
    one, other = (fitted[kind].test(Sample.untimed(rows)) for rows in (missing, largest))
    assert one.p_value == other.p_value < 1e-3


def test_categories_are_ordered_by_how_rare_they_are() -> None:
    rows = np.random.default_rng(0).choice(3, p=[0.05, 0.8, 0.15], size=(3000, 1)).astype(float)
    scores = ColumnScores.of(rows, [3]).look_up(np.array([[0.0], [1.0], [2.0], [3.0]]))[:, 0]
    assert scores[1] < scores[2] < scores[0] < scores[3]  # 3 stands for all that was never seen


def test_the_column_that_moved_has_the_smallest_p_value(fitted: dict) -> None:
    rows = reference(100, seed=10)
    rows[:, 1] += 1
    for kind in ("cusum", "cvm-online"):
        outcome = fitted[kind].test(Sample.untimed(rows))
        assert outcome.feature_p_value.argmin() == 1
        assert outcome.p_value >= outcome.feature_p_value.min()


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.floats(0, 9), st.floats(0, 2))
@settings(max_examples=60, deadline=None)
def test_sums_are_those_of_pages_recurrence(values: list[float], start: float, allowance: float) -> None:
    peaks, sums = follow(np.array(values)[:, None], np.full((2, 1), start), allowance)
    up = down = start
    highest = 0.0
    for value in values:
        up, down = max(0.0, up + value - allowance), max(0.0, down - value - allowance)
        highest = max(highest, up, down)
    assert sums[:, 0] == pytest.approx([up, down], abs=1e-9)
    assert peaks[0] == pytest.approx(highest, abs=1e-9)


def test_the_distance_of_a_window_is_that_of_the_distributions(fitted: dict) -> None:
    rows, window, detector = reference(), reference(60, seed=11), fitted["cvm-online"]
    held = detector._survival.look_up(window)
    found = statistics(held, detector._survival.constants, 50)
    for column in range(3):
        values, counts = np.unique(rows[:, column], return_counts=True)
        upto = np.cumsum(counts) / len(rows)
        for row in range(11):
            share = (window[row : row + 50, column, None] <= values).mean(axis=0)
            assert found[row, column] == pytest.approx(
                50 * ((share - upto) ** 2 * counts / len(rows)).sum(), abs=1e-9 if column == 1 else 0.02
            )


def test_the_discrepancy_of_a_window_is_the_unbiased_estimate(fitted: dict) -> None:
    detector, window, size = fitted["mmd-online"], reference(60, seed=12), 50
    kept = detector.state().arrays["reference"]
    within, across, among = (
        kernel(one.astype(np.float32), other.astype(np.float32), detector._bandwidth).astype(np.float64)
        for one, other in ((kept, kept), (window, kept), (window, window))
    )
    mean_within = (within.sum() - np.trace(within)) / (len(kept) * (len(kept) - 1))
    found = detector._statistics(window)
    for row in range(11):
        part = among[row : row + size, row : row + size]
        mean_among = (part.sum() - np.trace(part)) / (size * (size - 1))
        assert found[row] == pytest.approx(mean_within + mean_among - 2 * across[row : row + size].mean(), abs=2e-6)


def test_equal_seeds_give_equal_states() -> None:
    small = {"window_size": 40, "stat_size": 10}
    one, other = (fit("kswin", reference(600)[:, 1:2], seed=3, **small).state().arrays for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
