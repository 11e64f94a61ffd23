"""Conformal p-values: their definition, the decision and its threshold, and what calibration rows can promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wayside.detectors.scoring.calibration import (
    Calibration,
    above,
    alarm_rank,
    false_alarm_interval,
    feature_thresholds,
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


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("beside", "not_below"), [(0.0, 5), (5e-6, 5), (-5e-6, 5), (3e-5, 4), (-3e-5, 5)])
def test_a_score_within_a_tie_of_a_calibration_score_is_not_above_it(
    sign: float, beside: float, not_below: int
) -> None:
    """A score a little beside the fifth largest of ten, relative to it."""
    calibration = Calibration.of(sign * np.arange(1.0, 11.0), 0.1)
    score = calibration.scores[5] + abs(calibration.scores[5]) * beside
    assert calibration.p_values(quantise(np.array([score]))).tolist() == [(1 + not_below) / 11]


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


COLUMNS = arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(1, 3)),
    elements=st.sampled_from([-2.0, 0.0, 0.5, 1e-300, 7.0]),
)


@given(COLUMNS, ALPHAS, st.sampled_from([0.0, 1e-15, 1e-10, 9e-6]))
def test_a_column_alone_is_above_its_threshold_in_a_share_alpha_of_rows_at_most(
    scores: np.ndarray, alpha: float, beside: float
) -> None:
    """And so it is on a machine whose last digits differ: a repeated row is a tie, and a tie is not above."""
    thresholds = feature_thresholds(scores, alpha)
    rank = max(1, alarm_rank(len(scores), alpha))
    assert np.allclose(thresholds, np.sort(scores, axis=0)[-rank], rtol=1e-8, atol=0)
    flagged = above(scores + np.abs(scores) * beside, thresholds)
    assert (flagged.sum(axis=0) < rank).all()
    assert flagged.tolist() == (scores > thresholds * (1 + 1e-8 * np.sign(thresholds))).tolist()


def test_a_column_without_a_finite_score_is_above_whatever_its_threshold() -> None:
    largest = np.finfo(np.float64).max
    thresholds = feature_thresholds(np.array([[np.inf, np.nan, largest, 1.0]] * 3), 0.5)
    assert thresholds.tolist() == [largest, largest, largest, 1.0]
    assert above(np.array([[np.inf, np.nan, np.inf, np.nan], [1.0, 1.0, 1.0, 1.0]]), thresholds).tolist() == [
        [True] * 4,
        [False] * 4,
    ]


def test_an_infinite_score_is_above_the_largest_calibration_score_there_can_be() -> None:
    calibration = Calibration.of(np.array([1.0, 1.797692e308]), 0.5)
    assert calibration.p_values(np.array([np.inf, 1.797692e308])).tolist() == [1 / 3, 2 / 3]


def test_calibration_of_infinite_scores_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="too large"):
        Calibration.of(np.array([1.0, np.inf]), 0.1)
