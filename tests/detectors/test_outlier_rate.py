"""The rate of outliers: p-values of a calibrated detector, held to what their calibration can promise."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from wayside.detectors.kinds.protocol import Execution, Sample
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.errors import ConfigurationError

from .sequential_streams import alarms, fit, p_values


@pytest.fixture
def calibrated(outlier_rate: Any) -> Any:
    return outlier_rate


def test_the_null_is_the_upper_end_of_what_the_calibration_allows(calibrated: Any) -> None:
    assert calibrated.share == pytest.approx(beta.ppf(0.95, 20, 1980))


def test_without_a_calibration_the_reference_bounds_the_share() -> None:
    rows = p_values(2000)
    flagged = int((rows <= 0.01).sum())
    assert fit("outlier-rate", rows).share == pytest.approx(beta.ppf(0.95, flagged + 1, 2000 - flagged))


def test_the_budget_holds_at_the_worst_share_that_is_allowed_for(calibrated: Any) -> None:
    found = alarms(calibrated, p_values(60_000, seed=2, share=calibrated.share), level=0.05)
    assert 30 * 0.4 <= len(found) <= 30 * 1.7  # 600 windows


def test_a_sustained_rate_is_found_and_a_single_outlier_is_not(calibrated: Any) -> None:
    single = p_values(1000, seed=3, share=0.0)
    single[500] = 0.0001
    assert alarms(calibrated, single, level=1e-3) == []
    assert alarms(calibrated, p_values(2000, seed=4, share=0.06), level=1e-3)


def conformal(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Shape (n, 1): on the grid of 1 / (rows that calibrated + 1), as `wayside detect` gives them."""
    atleast = len(calibration) - np.searchsorted(np.sort(calibration), scores, "left")
    return ((1 + atleast) / (len(calibration) + 1))[:, None]


@pytest.mark.parametrize(("times", "within"), [(2, 6000), (5, 800)])
def test_a_share_that_many_times_the_promised_is_found_soon(calibrated: Any, times: int, within: int) -> None:
    rng = np.random.default_rng(6)
    for _ in range(10):
        calibration = rng.exponential(size=1999)
        beyond = rng.random(6000) < 0.01 * (times - 1)
        scores = np.where(beyond, 1e9, rng.exponential(size=6000))
        found = alarms(calibrated, conformal(scores, calibration), level=0.01)
        assert found
        assert found[0] * 100 < within


def test_ordinary_p_values_of_most_calibrations_keep_the_budget(calibrated: Any) -> None:
    rng = np.random.default_rng(7)
    counts = [
        len(alarms(calibrated, conformal(rng.exponential(size=5000), rng.exponential(size=1999)), level=0.02))
        for _ in range(40)
    ]
    assert np.mean(counts) <= 1.2  # of 50 windows
    assert np.mean(np.array(counts) > 2) <= 0.1


def test_p_values_of_1_are_ordinary(calibrated: Any) -> None:
    assert alarms(calibrated, np.ones((2000, 1)), level=0.05) == []


def test_state_restores(calibrated: Any) -> None:
    detector, window = calibrated, Sample.untimed(p_values(200, seed=5, share=0.1))
    again = window_detector("outlier-rate").restore(detector.state(), Execution())
    assert again.test(window).p_value == detector.test(window).p_value < 0.01


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(np.full((600, 1), 1.5), "takes p-values"), (np.zeros((600, 3)), "one column"), (np.zeros((9, 1)), "500")],
    ids=["scores", "columns", "few"],
)
def test_what_is_no_stream_of_p_values_is_refused(rows: np.ndarray, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        fit("outlier-rate", rows)
