"""Conformal p-values: their definition, the decision and its threshold, and what calibration rows can promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wayside.detectors.calibration import (
    Calibration,
    alarm_rank,
    false_alarm_interval,
    quantise,
    rows_needed,
)
from wayside.eventing.errors import ConfigurationError

# few distinct values, so that ties are common
SCORES = arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 1e9]))
ALPHAS = st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.29, 0.5, 0.9])


@given(SCORES, SCORES, ALPHAS)
def test_p_is_what_its_definition_says(calibration: np.ndarray, scores: np.ndarray, alpha: float) -> None:
    p_values = Calibration.of(calibration, alpha).p_values(scores)
    expected = [(1 + sum(calibration >= score)) / (len(calibration) + 1) for score in scores]
    assert p_values.tolist() == expected


@given(SCORES, SCORES, ALPHAS)
def test_above_the_threshold_and_p_at_most_alpha_are_the_same(
    calibration: np.ndarray, scores: np.ndarray, alpha: float
) -> None:
    calibrated = Calibration.of(calibration, alpha)
    decisions = calibrated.decisions(calibrated.p_values(scores))
    if alarm_rank(len(calibration), alpha) == 0:
        assert not decisions.any()
        with pytest.raises(ConfigurationError, match="are needed"):
            _ = calibrated.threshold
    else:
        assert decisions.tolist() == (scores > calibrated.threshold).tolist()


@given(arrays(np.float64, st.integers(1, 20), elements=st.one_of(st.just(0.0), st.floats(1e-300, 1e300))))
def test_quantised_scores_keep_nine_digits_and_their_order(scores: np.ndarray) -> None:
    quantised = quantise(scores)
    assert np.allclose(quantised, scores, rtol=2**-29, atol=0)
    assert quantised.tolist() == quantise(quantised).tolist()
    assert (np.diff(quantised[np.argsort(scores, kind="stable")]) >= 0).all()


def test_last_bits_do_not_survive_and_nothing_is_no_number() -> None:
    assert quantise(np.array([1.0, np.nextafter(1.0, 2.0)])).tolist() == [1.0, 1.0]
    assert quantise(np.array([np.nan, np.inf])).tolist() == [np.inf, np.inf]


@given(st.integers(0, 5000), ALPHAS)
def test_rank_and_p_agree_in_floating_point(n: int, alpha: float) -> None:
    rank = alarm_rank(n, alpha)
    assert rank / (n + 1) <= alpha < (rank + 1) / (n + 1)


@pytest.mark.parametrize(("alpha", "rows"), [(0.01, 999), (0.05, 199), (0.1, 99), (0.003, 3333)])
def test_rows_needed_is_the_fewest(alpha: float, rows: int) -> None:
    assert rows_needed(alpha) == rows
    assert alarm_rank(rows, alpha) >= 10 > alarm_rank(rows - 1, alpha)


def test_interval_holds_for_nine_in_ten_calibrations() -> None:
    """Vovk's theorem, checked: uniform scores, whose false-alarm rate given the calibration is 1 - threshold."""
    n, alpha, draws = 199, 0.1, 2000
    interval = false_alarm_interval(n, alpha)
    scores = np.random.default_rng(7).random((draws, n))
    rates = 1 - np.array([Calibration.of(row, alpha).threshold for row in scores])
    inside = np.mean((interval.low <= rates) & (rates <= interval.high))
    assert inside == pytest.approx(0.9, abs=0.03)  # four standard errors
    assert rates.mean() == pytest.approx(alpha, abs=0.002)


def test_interval_without_any_alarm_is_zero() -> None:
    interval = false_alarm_interval(5, 0.01)
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_calibration_of_infinite_scores_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="too large"):
        Calibration.of(np.array([1.0, np.inf]), 0.1)
