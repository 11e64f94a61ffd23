"""`ks`: scipy's test column by column, its level over references, and windows that are not numbers."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.kinds.ks import KolmogorovSmirnov
from wayside.detectors.kinds.protocol import Execution, NoOptions, Sample, WindowFitContext

REFERENCE = np.random.default_rng(3).normal(size=(300, 7)) * [1, 10, 100, 1, 1, 1, 0] + 5


def window_p_values(reference: np.ndarray, windows: np.ndarray) -> np.ndarray:
    detector = KolmogorovSmirnov.fit(Sample.untimed(reference), NoOptions(), WindowFitContext())
    return np.array([detector.test(Sample.untimed(window)).p_value for window in windows])


def test_ks_agrees_with_scipy_column_by_column() -> None:
    window = np.round(np.random.default_rng(9).normal(size=(60, 7)), 1)  # ties within and across
    reference = np.round(REFERENCE - 5, 1)
    outcome = KolmogorovSmirnov.fit(Sample.untimed(reference), NoOptions(), WindowFitContext()).test(
        Sample.untimed(window)
    )
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
    detector = KolmogorovSmirnov.fit(Sample.untimed(rng.normal(size=(1000, 3))), NoOptions(), WindowFitContext())
    window[:60, 1] = value
    outcome = detector.test(Sample.untimed(window))
    assert outcome.p_value < 1e-6
    assert outcome.feature_distance.argmax() == 1
    window[:] = value
    assert detector.test(Sample.untimed(window)).statistic == 1.0


def test_ks_state_restores_the_same_test(ks: Artifact) -> None:
    window = np.random.default_rng(13).normal(size=(50, 4))
    detector = KolmogorovSmirnov.restore(ks.state, Execution())
    again = KolmogorovSmirnov.restore(detector.state(), Execution())
    assert (
        detector.test(Sample.untimed(window)).feature_p_value.tobytes()
        == again.test(Sample.untimed(window)).feature_p_value.tobytes()
    )
