"""`cvm`, `chi2`, `fisher` and `tabular`: scipy's figures, ties, values never seen, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, cramervonmises_2samp, fisher_exact, ks_2samp

from wayside.detectors.kinds.protocol import Execution, Sample, WindowDetector, WindowFitContext, WindowTest
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.errors import ConfigurationError

NAN = np.nan
KINDS = ("ks", "cvm", "chi2", "fisher", "tabular")


def fitted(kind: str, reference: np.ndarray, categories: tuple[int, ...] = (), **options: Any) -> WindowDetector:
    """As the papers have the tests: rows for independent, Bonferroni over columns."""
    found = window_detector(kind)
    context = WindowFitContext(window_rows=200, categories=categories)
    options = {"draws": 0, "dependence": False, **options}
    return found.fit(Sample.untimed(reference), found.options(**options), context)


def outcome(kind: str, reference: np.ndarray, window: np.ndarray, **options: Any) -> WindowTest:
    return fitted(kind, reference, **options).test(Sample.untimed(window))


def column(*values: float) -> np.ndarray:
    return np.array(values, float)[:, None]


def drawn(seed: int, rows: int, *shares: float) -> np.ndarray:
    """A column of categories."""
    return np.random.default_rng(seed).choice(len(shares), size=(rows, 1), p=shares).astype(float)


@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_cvm_agrees_with_scipy_without_ties(moved: float) -> None:
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=(4000, 6)), rng.normal(size=(150, 6)) + moved
    found = outcome("cvm", reference, window)
    scipys = [cramervonmises_2samp(window[:, at], reference[:, at], method="asymptotic") for at in range(6)]
    assert np.allclose(found.feature_distance, [each.statistic for each in scipys], rtol=1e-9)
    assert np.allclose(found.feature_p_value, [each.pvalue for each in scipys], rtol=0.01, atol=1e-12)


def test_chi2_agrees_with_scipy_where_counts_are_large() -> None:
    reference, window = drawn(1, 8000, 0.1, 0.2, 0.3, 0.4), drawn(2, 600, 0.1, 0.2, 0.3, 0.4)
    table = [np.bincount(each[:, 0].astype(int), minlength=4) for each in (window, reference)]
    scipys = chi2_contingency(table)
    found = outcome("chi2", reference, window)
    assert found.statistic == pytest.approx(scipys.statistic)
    assert found.p_value == pytest.approx(scipys.pvalue, rel=0.05)
    likelihood = chi2_contingency(table, lambda_="log-likelihood")
    assert found.p_value == pytest.approx(max(scipys.pvalue, likelihood.pvalue), rel=1e-9)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_fisher_agrees_with_scipy(alternative: str, share: float) -> None:
    reference, window = drawn(3, 3000, 0.9, 0.1), drawn(4, 150, 1 - share, share)
    ones = [int(each.sum()) for each in (window, reference)]
    scipys = fisher_exact([[ones[0], 150 - ones[0]], [ones[1], 3000 - ones[1]]], alternative=alternative)
    detector = fitted("fisher", reference, alternative=alternative)
    compared = detector.compare(Sample.untimed(reference), Sample.untimed(window))  # type: ignore[attr-defined]
    assert compared.p_value == pytest.approx(scipys.pvalue, rel=1e-9)


def test_chi2_of_two_values_is_fishers_test() -> None:
    reference, window = drawn(3, 3000, 0.9, 0.1), drawn(4, 150, 0.8, 0.2)
    exact = outcome("fisher", reference, window).p_value
    assert outcome("chi2", reference, window).p_value == pytest.approx(exact, rel=1e-9)


def test_tabular_puts_columns_to_the_test_of_their_type() -> None:
    rng = np.random.default_rng(5)
    reference = np.column_stack([rng.normal(size=4000), drawn(6, 4000, 0.5, 0.3, 0.2)])
    window = np.column_stack([rng.normal(size=200), drawn(7, 200, 0.5, 0.3, 0.2)])
    ks, chi2 = outcome("ks", reference[:, :1], window[:, :1]), outcome("chi2", reference[:, 1:], window[:, 1:])
    for categories in ((0, 3), (0, 0)):
        found = fitted("tabular", reference, categories).test(Sample.untimed(window))
        assert found.feature_distance == pytest.approx([ks.statistic, chi2.statistic])
        assert found.feature_p_value == pytest.approx([ks.p_value, chi2.p_value])
    cvm = outcome("tabular", reference, window, numbers="cvm", few_values=0).feature_distance
    scipys = cramervonmises_2samp(window[:, 0], reference[:, 0])
    assert cvm[0] == pytest.approx(scipys.statistic)


def test_tabular_agrees_with_scipy_on_every_column() -> None:
    rng = np.random.default_rng(8)
    reference, window = rng.normal(size=(4000, 4)), rng.normal(size=(200, 4))
    scipys = [ks_2samp(window[:, at], reference[:, at]).statistic for at in range(4)]
    assert outcome("tabular", reference, window).feature_distance == pytest.approx(scipys)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_is_no_evidence_until_it_changes(kind: str) -> None:
    reference = np.zeros((4000, 1))
    assert outcome(kind, reference, np.zeros((200, 1))).p_value == 1.0
    assert outcome(kind, reference, np.ones((200, 1))).p_value < 1e-30
    assert outcome(kind, reference, np.full((200, 1), NAN)).p_value < 1e-30


@pytest.mark.parametrize("kind", KINDS)
def test_equal_samples_are_at_no_distance(kind: str) -> None:
    sample = (
        np.vstack([drawn(9, 400, 0.6, 0.4), np.full((30, 1), NAN)]) if kind != "fisher" else drawn(9, 400, 0.6, 0.4)
    )
    found = outcome(kind, sample, sample)
    assert found.statistic == pytest.approx(0.0, abs=1e-9)
    assert found.p_value > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strange", [7.0, NAN, np.inf], ids=str)
def test_a_value_never_seen_is_evidence(kind: str, strange: float) -> None:
    window = drawn(10, 200, 0.5, 0.5)
    window[:60] = strange
    found = outcome(kind, drawn(11, 4000, 0.5, 0.5), window)
    assert found.p_value < 1e-8


@pytest.mark.parametrize("kind", ["chi2", "tabular"])
def test_a_few_rows_of_a_new_category_are_seen_among_rare_ones(kind: str) -> None:
    shares = (0.5, 0.3, 0.19, 0.004, 0.003, 0.003)
    window = drawn(12, 200, *shares)
    window[:12] = 6.0
    assert outcome(kind, drawn(13, 4000, *shares), window).p_value < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_that_are_usual_are_no_evidence_and_their_loss_is(kind: str) -> None:
    rng = np.random.default_rng(14)
    reference, window = (np.where(rng.random((rows, 1)) < 0.4, NAN, 1.0) for rows in (4000, 200))
    assert outcome(kind, reference, window).p_value > 0.01
    assert outcome(kind, reference, np.ones((200, 1))).p_value < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_state_restores_the_same_test_compactly(kind: str) -> None:
    rng = np.random.default_rng(15)
    reference = np.column_stack([drawn(16, 4000, 0.5, 0.5), np.where(rng.random(4000) < 0.1, NAN, 2.0)])
    window = Sample.untimed(np.column_stack([drawn(17, 200, 0.5, 0.5), np.full(200, 2.0)]))
    detector = fitted(kind, reference)
    state = detector.state()
    again = window_detector(kind).restore(state, Execution())
    assert again.test(window).feature_p_value.tobytes() == detector.test(window).feature_p_value.tobytes()
    assert sum(array.nbytes for array in state.arrays.values()) < 200
    assert (again.features, again.least_rows) == (2, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "array"),
    [("counts", np.array([3, 3])), ("sizes", np.array([5])), ("size", np.zeros(3)), ("values", np.zeros((2, 1)))],
    ids=["counts", "sizes", "size", "values"],
)
def test_a_state_that_is_none_is_refused(kind: str, name: str, array: np.ndarray) -> None:
    state = fitted(kind, drawn(18, 400, 0.5, 0.5)).state()
    arrays = {**state.arrays, name: array if name != "counts" else array[:1]}
    with pytest.raises(ValueError, match=r"reference|shape"):
        window_detector(kind).restore(type(state)(arrays), Execution())


@pytest.mark.parametrize("kind", KINDS)
def test_two_samples_compare_as_a_reference_and_a_window_do(kind: str) -> None:
    reference, canary = drawn(19, 4000, 0.5, 0.5), drawn(20, 200, 0.5, 0.5)
    detector = fitted(kind, drawn(21, 300, 0.5, 0.5))
    compared = detector.compare(Sample.untimed(reference), Sample.untimed(canary))  # type: ignore[attr-defined]
    assert compared.p_value == fitted(kind, reference).test(Sample.untimed(canary)).p_value


@pytest.mark.parametrize(
    ("kind", "options", "reference", "message"),
    [
        ("chi2", {}, np.arange(100.0)[:, None], "column 1 has 100 distinct values, chi2 takes 32: judge numbers"),
        ("fisher", {}, column(0, 1, 2), "column 1 has 3 distinct values, fisher takes 2: judge it by chi2"),
        ("ks", {}, column(1), "ks needs at least 2 rows"),
        ("cvm", {"reference_rows": 1}, column(1, 2), "reference_rows is 1"),
        ("chi2", {"most_values": 1}, column(1, 2), "most_values is 1"),
        ("fisher", {"alternative": "more"}, column(1, 2), "alternative is 'more'"),
        ("tabular", {"numbers": "t"}, column(1, 2), "numbers is 't'"),
        ("tabular", {"few_values": -1}, column(1, 2), "few_values is -1"),
    ],
    ids=["chi2", "fisher", "rows", "reference", "values", "alternative", "numbers", "few"],
)
def test_what_a_kind_does_not_take_it_refuses(kind: str, options: dict, reference: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        fitted(kind, reference, **options)


def test_many_categories_are_taken_where_the_schema_says_so() -> None:
    reference = np.arange(400.0)[:, None] % 200
    assert fitted("chi2", reference, (200,)).test(Sample.untimed(reference[:200])).p_value == 1.0


def test_a_reference_of_many_rows_is_drawn_from_by_seed() -> None:
    rows = np.random.default_rng(22).normal(size=(3000, 2))
    states = [fitted("ks", rows, reference_rows=1000).state().arrays for _ in range(2)]
    assert states[0]["counts"].sum() == 2000
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kind", ["chi2", "tabular"])
def test_categories_of_which_each_is_rare_can_drift(kind: str) -> None:
    rng = np.random.default_rng(23)
    cities = rng.integers(0, 300, (20_000, 1)).astype(float)
    detector = fitted(kind, cities, (300,))

    def p_value(low: int, high: int) -> float:
        return detector.test(Sample.untimed(rng.integers(low, high, (200, 1)).astype(float))).p_value

    assert np.mean([p_value(0, 300) <= 0.05 for _ in range(200)]) <= 0.09
    assert p_value(300, 301) < 1e-6
    assert p_value(0, 45) < 1e-6


def test_values_of_their_own_are_usual_where_the_reference_has_them() -> None:
    rng = np.random.default_rng(24)
    numbers = rng.integers(0, 50_000, 24_000).astype(float)  # as ids are: many were never seen before
    detector = fitted("chi2", numbers[:4000, None], (50_000,))
    found = [detector.test(Sample.untimed(each[:, None])).p_value for each in numbers[4000:].reshape(100, 200)]
    assert np.mean(np.array(found) <= 0.05) <= 0.1


def test_a_strange_value_in_the_stable_sample_blinds_no_comparison() -> None:
    stable, canary = drawn(25, 400, 0.9, 0.1), drawn(26, 400, 0.1, 0.9)
    stable[0] = NAN
    detector = fitted("fisher", drawn(27, 400, 0.5, 0.5))
    assert detector.compare(Sample.untimed(stable), Sample.untimed(canary)).p_value < 1e-50  # type: ignore[attr-defined]
