"""What columns share: rows that are alike count for less, columns that move together for fewer, and both are kept."""

from typing import Any

import numpy as np
import pytest

from wayside.detectors.kinds.protocol import Execution, Sample, WindowDetector, WindowFitContext
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.errors import ConfigurationError

WINDOW, LEVEL = 100, 0.05


def fitted(kind: str, reference: np.ndarray, categories: tuple[int, ...] = (), **options: Any) -> WindowDetector:
    found = window_detector(kind)
    context = WindowFitContext(window_rows=WINDOW, categories=categories, level=LEVEL)
    made = found.fit(Sample.untimed(reference), found.options(**options), context)
    return found.restore(made.state(), Execution())


def alike(rng: np.random.Generator, rows: int, block: int, columns: int = 3) -> np.ndarray:
    """Rows that come in blocks of equal ones."""
    return np.repeat(rng.normal(size=(rows // block, columns)), block, axis=0)


def rate(detector: WindowDetector, windows: np.ndarray) -> float:
    return float(np.mean([detector.test(Sample.untimed(window)).p_value <= LEVEL for window in windows]))


@pytest.mark.parametrize("kind", ["ks", "cvm", "tabular"])
def test_rows_that_are_alike_do_not_alarm(kind: str) -> None:
    rng = np.random.default_rng(1)
    windows = alike(rng, 300 * WINDOW, 10).reshape(300, WINDOW, 3)
    reference = alike(rng, 40 * WINDOW, 10)
    assert rate(fitted(kind, reference, draws=0, dependence=False), windows) > 0.8
    assert rate(fitted(kind, reference, draws=0), windows) <= 0.1


@pytest.mark.parametrize("kind", ["chi2", "fisher"])
def test_categories_that_are_alike_do_not_alarm(kind: str) -> None:
    rng = np.random.default_rng(2)
    reference, windows = ((alike(rng, rows * WINDOW, 10) > 0).astype(float) for rows in (40, 200))
    windows = windows.reshape(200, WINDOW, 3)
    assert rate(fitted(kind, reference, (2, 2, 2), draws=0, dependence=False), windows) > 0.5
    assert rate(fitted(kind, reference, (2, 2, 2), draws=0), windows) <= 0.13


def test_what_drifts_is_seen_among_rows_that_are_alike() -> None:
    rng = np.random.default_rng(3)
    detector = fitted("ks", alike(rng, 40 * WINDOW, 5), draws=0)
    assert detector.test(Sample.untimed(alike(rng, WINDOW, 5) + 3)).p_value < 1e-4
    assert "as much as one" in detector.described()  # type: ignore[attr-defined]


def test_columns_that_repeat_each_other_are_worth_one() -> None:
    rng = np.random.default_rng(4)
    reference, fresh = (np.repeat(rng.normal(size=(rows, 1)), 12, axis=1) for rows in (4000, 400 * WINDOW))
    windows = fresh.reshape(400, WINDOW, 12)
    by_number, by_draws = (fitted("ks", reference, draws=draws, dependence=False) for draws in (0, 400))
    assert rate(by_number, windows) < 0.02
    assert 0.5 * LEVEL <= rate(by_draws, windows) <= 2 * LEVEL


def test_columns_keep_their_own_p_values_and_the_window_has_no_more_than_bonferronis() -> None:
    rng = np.random.default_rng(5)
    reference = np.repeat(rng.normal(size=(3000, 1)), 4, axis=1)
    by_draws, plain = (fitted("ks", reference, draws=draws, dependence=False) for draws in (200, 0))
    for moved in (0.0, 0.3, 0.5):
        window = Sample.untimed(np.repeat(rng.normal(size=(WINDOW, 1)), 4, axis=1) + moved)
        found, own = by_draws.test(window), plain.test(window)
        assert found.feature_p_value == pytest.approx(own.feature_p_value, rel=0.3), "but for exactness"
        assert found.p_value <= min(1.0, 4 * found.feature_p_value.min()) * 1.0001


@pytest.mark.parametrize(
    ("name", "array"),
    [("effects", np.full(3, 0.5)), ("effects", np.ones(2)), ("least", np.ones(7))],
    ids=["below-one", "width", "few"],
)
def test_a_state_of_other_effects_is_refused(name: str, array: np.ndarray) -> None:
    state = fitted("ks", alike(np.random.default_rng(6), 2000, 10)).state()
    assert "effects" in state.arrays
    with pytest.raises(ValueError, match=r"'effects'|more than 50"):
        window_detector("ks").restore(type(state)({**state.arrays, name: array}), Execution())


def test_independent_rows_are_counted_as_they_are() -> None:
    found = [fitted("ks", np.random.default_rng(seed).normal(size=(2000, 8))).state().arrays for seed in range(6)]
    assert sum("effects" in arrays for arrays in found) <= 1
    assert all("least" in arrays for arrays in found)


def test_larger_windows_than_were_drawn_are_held_to_the_number_of_columns() -> None:
    rng = np.random.default_rng(7)
    reference = np.repeat(rng.normal(size=(4000, 1)), 6, axis=1)
    detector = fitted("ks", reference, draws=200, dependence=False)
    window = Sample.untimed(np.repeat(rng.normal(size=(3 * WINDOW, 1)), 6, axis=1))
    plain = fitted("ks", reference, draws=0, dependence=False)
    assert detector.test(window).p_value == plain.test(window).p_value
    assert detector.test(window.take(slice(WINDOW))).p_value < plain.test(window.take(slice(WINDOW))).p_value


def test_few_draws_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="draws is 20: give 100"):
        fitted("ks", np.zeros((100, 2)), draws=20)
