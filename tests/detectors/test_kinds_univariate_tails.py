"""P-values far in the tail, with few rows and with ties: by exact counts where there are any, else by draws."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import _hypotests, fisher_exact, ks_2samp
from scipy.stats import multivariate_hypergeom as drawn_without_replacement

from wayside.detectors.two_sample import chi_squared, hypergeometric
from wayside.detectors.two_sample.cramer import CramerColumns, limiting_p_values
from wayside.detectors.two_sample.cramer import p_values as cramer_p_values
from wayside.detectors.two_sample.kolmogorov import KolmogorovColumns
from wayside.detectors.two_sample.reference import ReferenceColumns, ordered_columns

LEVELS = (0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


@pytest.mark.parametrize(
    ("drawn", "pooled"),
    [
        (30, (170, 170, 680)),
        (50, (250, 300, 500)),
        (40, (3, 105, 300, 432)),
        (30, (2, 2, 3, 140, 483)),
        (30, (60, 90, 80, 70, 30, 300)),
        (20, (1, 1, 418)),
    ],
    ids=["few", "many", "one rare", "three rare", "rare together", "all but one rare"],
)
def test_chi2_is_never_anti_conservative(drawn: int, pooled: tuple[int, ...]) -> None:
    """Over all tables of these margins, or 1 500 where there are more: those by draws only at levels they can tell."""
    tables = _tables(drawn, np.array(pooled)) if len(pooled) < 5 else None
    if tables is None:
        counts = np.random.default_rng(1).multivariate_hypergeometric(pooled, drawn, size=1500)
        chances, levels = np.full(len(counts), 1 / len(counts)), LEVELS[:2]
    else:
        counts, chances, levels = tables, drawn_without_replacement.pmf(tables, pooled, drawn), LEVELS
        likely = chances > 1e-13
        counts, chances = counts[likely], chances[likely]
    p_values = np.array([chi_squared.test(np.stack([each, pooled - each]))[1] for each in counts])
    for level in levels:
        assert chances[p_values <= level].sum() <= level * (1 if tables is not None else 1.3)


def _tables(drawn: int, pooled: np.ndarray) -> np.ndarray:
    """All counts of the window that the margins allow."""
    ranges = [range(min(drawn, each) + 1) for each in pooled[:-1]]
    firsts = np.array([each for each in product(*ranges) if sum(each) <= drawn])
    return np.column_stack([firsts, drawn - firsts.sum(axis=1)])


@pytest.mark.parametrize(
    ("count", "drawn", "marked", "total"), [(30, 60, 60, 2000), (0, 200, 700, 4200), (9, 9, 9, 900)]
)
def test_exact_counts_keep_their_digits_far_out(count: int, drawn: int, marked: int, total: int) -> None:
    table = [[count, drawn - count], [marked - count, total - drawn - marked + count]]
    scipys = fisher_exact(table).pvalue
    assert hypergeometric.p_value(count, drawn, marked, total) == pytest.approx(scipys, rel=1e-7)


def test_cramers_limit_is_smirnovs_series_and_goes_on() -> None:
    statistics = np.array([0.05, 0.1, 0.3, 0.7, 1.2, 2.0])
    assert np.allclose(limiting_p_values(statistics), 1 - _hypotests._cdf_cvm_inf(statistics), rtol=1e-6)
    far = limiting_p_values(np.array([3.0, 4.0, 5.0, 6.0]))
    assert np.allclose(np.diff(np.log(far)), -(np.pi**2) / 2, rtol=0.05)  # its largest weight is 1 / π²
    assert far[-1] > 0


@pytest.mark.parametrize(("n", "m"), [(8, 12), (10, 10), (5, 20)])
def test_cramers_p_values_are_not_below_the_exact_ones(n: int, m: int) -> None:
    total = n + m
    statistics = np.array([0.3, 0.8, 1.5])
    mine = cramer_p_values(statistics, n, m)
    ranks = (statistics + (4 * m * n - 1) / (6 * total)) * m * n * total
    exact = np.array([_hypotests._pval_cvm_2samp_exact(each, m, n) for each in ranks])
    assert (mine >= exact * 0.97).all()


@pytest.mark.parametrize("test", [KolmogorovColumns, CramerColumns])
@pytest.mark.parametrize("values", [2, 4, 20])
def test_tied_columns_are_conservative(test: type, values: int) -> None:
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(4):
        reference, windows = rng.integers(values, size=(3000, 500)), rng.integers(values, size=(100, 500))
        columns = test(ReferenceColumns.of(reference.astype(float)))
        p_values.append(columns.test(ordered_columns(windows.astype(float)))[1])
    for level in (0.1, 0.01):
        assert np.mean(np.concatenate(p_values) <= level) <= level + 4 * np.sqrt(level / 2000)


def test_a_far_tail_is_that_of_scipys_exact_test() -> None:
    rng = np.random.default_rng(4)
    reference, window = rng.normal(size=(2000, 1)), rng.normal(size=(100, 1)) + 1.0
    exact = ks_2samp(window[:, 0], reference[:, 0], method="exact").pvalue
    assert 1e-10 < exact < 1e-4
    found = KolmogorovColumns(ReferenceColumns.of(reference)).test(ordered_columns(window))[1][0]
    assert found == pytest.approx(exact, rel=1e-6)
