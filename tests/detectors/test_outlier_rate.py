"""The rate of outliers: p-values of a calibrated detector, held to what their calibration can promise."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from wayside.detectors.kinds.protocol import Execution, Sample
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.errors import ConfigurationError

from .sequential_streams import alarms, fit


def p_values(count: int, seed: int = 1, share: float = 0.01) -> np.ndarray:
    """Uniform, but for the share of them that is at most 0.01."""
    rng = np.random.default_rng(seed)
    found = rng.uniform(0.01, 1, size=(count, 1)) + 1e-9
    return np.where(rng.random((count, 1)) < share, 0.005, np.minimum(found, 1.0))


@pytest.fixture(scope="module")
def calibrated() -> Any:
    return fit("outlier-rate", p_values(1000), calibration_rows=1999)


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
