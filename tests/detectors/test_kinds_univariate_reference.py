"""A fixed reference: what is promised of it, the correction, and some of the figures that it rests on drawn again."""

import numpy as np
import pytest
from scipy.stats import chi2, ncx2

from wayside.detectors.two_sample.reference_size import ReferenceSize, corrected, ratio_needed

LEVELS = np.logspace(-8, 0, 200)


@pytest.mark.parametrize("degrees", [1, 3, 10, 40])
@pytest.mark.parametrize("ratio", [5.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("level", [1e-2, 1e-4, 1e-6])
def test_ninety_five_of_a_hundred_references_keep_within_twice_the_budget(
    degrees: int, ratio: float, level: float
) -> None:
    """Of chi-squared, whose rate given the reference is that of a non-central one."""
    statistics = chi2.isf(LEVELS, degrees)
    reached = LEVELS[corrected(LEVELS, ratio) <= level].max()
    critical = np.interp(np.log(reached), np.log(LEVELS), statistics) * (1 + 1 / ratio)
    references = chi2.ppf((np.arange(1000) + 0.5) / 1000, degrees) / ratio
    rates = ncx2.sf(critical, degrees, references) / level
    assert np.quantile(rates, 0.95) < 2.15
    assert np.median(rates) > (0.5 if ratio >= 20 else 0.05)


def test_kolmogorov_smirnov_keeps_within_twice_the_budget() -> None:
    """Of one column of 60 rows, against references of 5 and 20 times as many: rates by the windows' own draws."""
    rng = np.random.default_rng(1)
    windows = np.sort(rng.random((2000, 60)), axis=1)
    for ratio in (5, 20):
        rates = np.array([_rate(np.sort(rng.random(60 * ratio)), windows, 0.05) for _ in range(60)])
        assert np.quantile(rates, 0.95) < 2.2
        assert 0.5 < np.median(rates) < 1.2


def _rate(reference: np.ndarray, windows: np.ndarray, level: float) -> float:
    from scipy.special import kolmogorov

    n, m = windows.shape[1], len(reference)
    at = np.searchsorted(reference, windows) / m
    steps = np.arange(n + 1) / n
    distances = np.maximum((steps[1:] - at).max(axis=1), (at - steps[:-1]).max(axis=1))
    p_values = kolmogorov(distances * np.sqrt(n * m / (n + m)))
    return float((corrected(p_values, m / n) <= level).mean() / level)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 5.0, 20.0, 100.0])
def test_the_correction_keeps_the_order_and_never_lowers(ratio: float) -> None:
    p_values = np.concatenate([[0.0], LEVELS])
    raised = corrected(p_values, ratio)
    assert (np.diff(raised) >= 0).all()
    assert ((raised >= p_values) & (raised <= 1.0)).all()


@pytest.mark.parametrize(("level", "needed"), [(0.01, 9.1), (1e-3, 13.9), (1e-5, 23.5), (1e-7, 33.1)])
def test_a_smaller_level_needs_a_larger_reference(level: float, needed: float) -> None:
    assert ratio_needed(level) == pytest.approx(needed, abs=0.1)
    assert corrected(np.array([level]), ratio_needed(level) * 1.001)[0] == level
    assert corrected(np.array([level]), ratio_needed(level) * 0.9)[0] > level


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (ReferenceSize(4000, 200, 0.01), "20 times the window: 95 of 100 such references keep within twice the budget"),
        (ReferenceSize(1000, 200, 0.01), "5 times the window, is small for a level of 0.01: p-values are raised 1.2"),
        (ReferenceSize(1000, 200, 0.01), "1810 rows need no such correction"),
        (ReferenceSize(4000, None, 0.01), "p-values of windows up to 442 rows stand as they are"),
    ],
    ids=["large", "small", "enough", "spans"],
)
def test_it_is_said_which(size: ReferenceSize, told: str) -> None:
    assert told in size.described()
    assert ReferenceSize.restore(size.array()) == size
