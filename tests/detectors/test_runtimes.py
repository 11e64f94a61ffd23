"""The detectors: against plain definitions, in batches of any shape, through their arrays, and on hostile values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp
from sklearn.covariance import LedoitWolf

from wayside.detectors.artifact import Artifact
from wayside.detectors.fit import FitSettings, fit_artifact
from wayside.detectors.judge import RowJudge
from wayside.detectors.runtimes.knn import NearestNeighbours
from wayside.detectors.runtimes.ks import KolmogorovSmirnov
from wayside.detectors.runtimes.mahalanobis import Mahalanobis
from wayside.detectors.runtimes.protocol import FitOptions
from wayside.detectors.runtimes.registry import KINDS, ROW_DETECTORS, WINDOW_DETECTORS

REFERENCE = np.random.default_rng(3).normal(size=(300, 7)) * [1, 10, 100, 1, 1, 1, 0] + 5
ROWS = np.random.default_rng(4).normal(size=(40, 7)) * [1, 10, 100, 1, 1, 1, 1] + 5


def test_registry_has_each_kind_once_under_its_own_name() -> None:
    assert sorted(KINDS) == ["knn", "ks", "mahalanobis"]
    for kind, detector in {**ROW_DETECTORS, **WINDOW_DETECTORS}.items():
        assert detector.kind == kind
    with pytest.raises(TypeError):
        ROW_DETECTORS["other"] = Mahalanobis  # type: ignore[index]


def test_knn_is_the_distance_to_the_kth_nearest_row() -> None:
    detector = NearestNeighbours.fit(REFERENCE, FitOptions(k=3))
    scale = np.where(REFERENCE.std(axis=0) > 0, REFERENCE.std(axis=0), 1)
    expected = np.sort(cdist(ROWS / scale, REFERENCE / scale), axis=1)[:, 2]
    assert np.allclose(detector.score(ROWS), expected, rtol=1e-10)


def test_knn_does_not_lose_small_distances_to_cancellation() -> None:
    reference = np.random.default_rng(5).normal(size=(50, 30)) + 1e6
    detector = NearestNeighbours.fit(reference, FitOptions(k=1))
    assert detector.score(reference).tolist() == [0.0] * 50


def test_mahalanobis_uses_the_ledoit_wolf_covariance() -> None:
    detector = Mahalanobis.fit(REFERENCE, FitOptions())
    scale = np.where(REFERENCE.std(axis=0) > 0, REFERENCE.std(axis=0), 1)
    standard = (REFERENCE - REFERENCE.mean(axis=0)) / scale
    estimate = LedoitWolf(assume_centered=True).fit(standard)
    expected = np.sqrt(estimate.mahalanobis((ROWS - REFERENCE.mean(axis=0)) / scale))
    assert np.allclose(detector.score(ROWS), expected, rtol=1e-9)


@settings(max_examples=30)
@given(kind=st.sampled_from(sorted(ROW_DETECTORS)), cuts=st.lists(st.integers(1, 39), unique=True))
def test_scores_are_the_same_bits_in_whatever_batch(kind: str, cuts: list[int]) -> None:
    detector = ROW_DETECTORS[kind].fit(REFERENCE, FitOptions())
    parts = [detector.score(part) for part in np.split(ROWS, sorted(cuts))]
    assert np.concatenate(parts).tobytes() == detector.score(ROWS).tobytes()


@pytest.mark.parametrize("kind", sorted(ROW_DETECTORS))
def test_arrays_restore_the_same_detector(kind: str) -> None:
    detector = ROW_DETECTORS[kind].fit(REFERENCE, FitOptions(k=4))
    restored = ROW_DETECTORS[kind].restore(detector.arrays())
    assert restored.features == detector.features == 7
    assert restored.score(ROWS).tobytes() == detector.score(ROWS).tobytes()
    assert detector.score(ROWS[:0]).shape == (0,)


@pytest.mark.parametrize("kind", sorted(ROW_DETECTORS))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e308])
def test_rows_that_are_not_finite_are_always_flagged(kind: str, value: float) -> None:
    artifact = fit_artifact(kind, np.random.default_rng(6).normal(size=(2000, 3)), FitSettings()).artifact
    judge = RowJudge.of(artifact)
    rows = np.zeros((3, 3))
    rows[1, 2] = value
    verdict = judge.verdict(judge.score(rows))
    assert list(verdict.decisions) == [False, True, False]
    assert verdict.p_values[1] == 1 / 1001
    assert verdict.scores[1] is None
    assert verdict.scores[0] == verdict.scores[2] is not None


@pytest.mark.parametrize("kind", sorted(ROW_DETECTORS))
def test_false_alarm_promise_is_kept(kind: str) -> None:
    """The rate on fresh rows lies where the Beta interval says, widened for the sampling of the test itself."""
    rng = np.random.default_rng(8)
    report = fit_artifact(kind, rng.normal(size=(4000, 5)), FitSettings(alpha=0.02))
    judge = RowJudge.of(report.artifact)
    rate = np.mean(judge.verdict(judge.score(rng.normal(size=(20_000, 5)))).decisions)
    assert report.interval is not None
    assert report.interval.low - 0.005 < rate < report.interval.high + 0.005


def window_p_values(reference: np.ndarray, windows: np.ndarray) -> np.ndarray:
    detector = KolmogorovSmirnov.fit(reference, FitOptions())
    return np.array([detector.test(window).p_value for window in windows])


def test_ks_agrees_with_scipy_column_by_column() -> None:
    window = np.round(np.random.default_rng(9).normal(size=(60, 7)), 1)  # ties within and across
    reference = np.round(REFERENCE - 5, 1)
    outcome = KolmogorovSmirnov.fit(reference, FitOptions()).test(window)
    exact = [ks_2samp(window[:, column], reference[:, column]) for column in range(7)]
    assert np.allclose(outcome.feature_distance, [each.statistic for each in exact])
    assert np.allclose(outcome.feature_p_value, [each.pvalue for each in exact], rtol=0.15, atol=0.02)
    assert outcome.statistic == max(outcome.feature_distance)
    assert outcome.p_value == pytest.approx(min(1.0, 7 * min(each.pvalue for each in exact)))


def test_ks_level_holds_over_references_and_windows() -> None:
    rng = np.random.default_rng(10)
    p_values = [window_p_values(rng.normal(size=(300, 5)), rng.normal(size=(2, 50, 5))) for _ in range(250)]
    rate = np.mean(np.concatenate(p_values) <= 0.05)
    assert 0.01 < rate < 0.075


def test_ks_sees_a_shift_in_one_column() -> None:
    rng = np.random.default_rng(11)
    windows = rng.normal(size=(1, 200, 20))
    windows[0, :, 7] += 1
    assert window_p_values(rng.normal(size=(2000, 20)), windows)[0] < 1e-6


def test_ks_of_a_constant_column_is_no_evidence_and_its_change_is() -> None:
    reference = np.zeros((500, 1))
    same, changed = window_p_values(reference, np.stack([np.zeros((50, 1)), np.ones((50, 1))]))
    assert (same, changed < 1e-10) == (1.0, True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_ks_counts_values_that_are_not_finite_as_drift(value: float) -> None:
    rng = np.random.default_rng(12)
    window = rng.normal(size=(100, 3))
    detector = KolmogorovSmirnov.fit(rng.normal(size=(1000, 3)), FitOptions())
    window[:60, 1] = value
    outcome = detector.test(window)
    assert outcome.p_value < 1e-6
    assert outcome.feature_distance.argmax() == 1
    window[:] = value
    assert detector.test(window).statistic == 1.0


def test_ks_arrays_restore_the_same_test(ks: Artifact) -> None:
    window = np.random.default_rng(13).normal(size=(50, 4))
    detector = KolmogorovSmirnov.restore(ks.arrays)
    again = KolmogorovSmirnov.restore(detector.arrays())
    assert detector.test(window).feature_p_value.tobytes() == again.test(window).feature_p_value.tobytes()
