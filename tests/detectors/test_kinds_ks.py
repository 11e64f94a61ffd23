"""`ks`: scipy's test column by column, its level over references, and windows that are not numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.kinds.columnwise_reference import ReferenceOptions
from wayside.detectors.kinds.ks import KolmogorovSmirnov
from wayside.detectors.kinds.protocol import Execution, Sample, WindowFitContext
from wayside.detectors.two_sample.kolmogorov import KolmogorovColumns, exact_p_value, p_values
from wayside.detectors.two_sample.reference import ReferenceColumns, ordered_columns

REFERENCE = np.random.default_rng(3).normal(size=(3000, 7)) * [1, 10, 100, 1, 1, 1, 0] + 5
PLAIN = ReferenceOptions(draws=0, dependence=False)
VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-4, 4), st.sampled_from([np.inf, -np.inf]))


def fitted(reference: np.ndarray) -> KolmogorovSmirnov:
    return KolmogorovSmirnov.fit(Sample.untimed(reference), PLAIN, WindowFitContext())


def window_p_values(reference: np.ndarray, windows: np.ndarray) -> np.ndarray:
    detector = fitted(reference)
    return np.array([detector.test(Sample.untimed(window)).p_value for window in windows])


def test_ks_agrees_with_scipy_column_by_column() -> None:
    window = np.round(np.random.default_rng(9).normal(size=(60, 7)), 1)  # ties within and across
    reference = np.round(REFERENCE - 5, 1)
    outcome = fitted(reference).compare(Sample.untimed(reference), Sample.untimed(window))
    exact = [ks_2samp(window[:, column], reference[:, column]) for column in range(7)]
    assert np.allclose(outcome.feature_distance, [each.statistic for each in exact], rtol=1e-14)
    assert outcome.statistic == max(outcome.feature_distance)
    assert outcome.p_value == pytest.approx(min(1.0, 7 * min(each.pvalue for each in exact)), rel=1e-6)
    assert (outcome.feature_p_value >= np.array([each.pvalue for each in exact]) - 1e-6).all()


@settings(max_examples=100, deadline=None)
@given(
    window=arrays(float, st.integers(2, 80), elements=VALUES),
    reference=arrays(float, st.integers(2, 400), elements=VALUES),
)
def test_ks_distances_are_exact_whatever_is_tied(window: np.ndarray, reference: np.ndarray) -> None:
    columns = KolmogorovColumns(ReferenceColumns.of(reference[:, None]))
    pooled = np.concatenate([window, reference])
    shares = [(sample <= pooled[:, None]).mean(axis=1) for sample in (window, reference)]
    distance = columns.test(ordered_columns(window[:, None]))[0][0]
    assert distance == pytest.approx(np.abs(shares[0] - shares[1]).max(), abs=1e-12)


@pytest.mark.parametrize("shape", ["continuous", "heavy", "discrete", "zeros and numbers"])
@pytest.mark.parametrize("moved", [0.0, 0.15])
def test_ks_distances_of_large_references_are_exact(shape: str, moved: float) -> None:
    rng = np.random.default_rng(4)
    draw = {
        "continuous": lambda count: rng.normal(size=count),
        "heavy": lambda count: rng.standard_cauchy(count),
        "discrete": lambda count: rng.poisson(40.0, count).astype(float),
        "zeros and numbers": lambda count: np.where(rng.random(count) < 0.7, 0.0, rng.normal(size=count)),
    }[shape]
    reference, window = draw(20_000), draw(1000) + moved
    distance = KolmogorovColumns(ReferenceColumns.of(reference[:, None])).test(ordered_columns(window[:, None]))[0][0]
    assert distance == pytest.approx(ks_2samp(window, reference, method="asymp").statistic, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (30, 30), (50, 250), (100, 300), (7, 1000)])
@pytest.mark.parametrize("steps", [0.8, 1.2, 1.6, 2.0, 2.5, 3.0])
def test_ks_p_values_are_the_exact_ones_in_the_tail_and_never_below_them(n: int, m: int, steps: float) -> None:
    pooled = np.arange(n + m, dtype=float)
    widest = int(steps * np.sqrt(n * m * (n + m)))
    sample = _samples_of_distance(n, m, widest)
    if sample is None:
        return
    window, reference = pooled[sample], pooled[~sample]
    exact = ks_2samp(window, reference, method="exact")
    whole = round(exact.statistic * n * m)
    if exact.pvalue < 1e-3:
        assert exact_p_value(whole, n, m) == pytest.approx(exact.pvalue, rel=1e-7)
    assert p_values(np.array([whole]), n, m)[0] >= exact.pvalue * (1 - 1e-9)


def _samples_of_distance(n: int, m: int, widest: int) -> np.ndarray | None:
    """Where a window's rows lie among all, so that the distance is at least `widest`: the first of all are its."""
    first = -(-widest // m)
    if first > n:
        return None
    after = np.zeros(n + m - first, bool)
    after[np.linspace(0, len(after) - 1, n - first).astype(int)] = True
    return np.concatenate([np.ones(first, bool), after])


def test_ks_level_holds_over_references_and_windows() -> None:
    rng = np.random.default_rng(10)
    p_values = [window_p_values(rng.normal(size=(300, 5)), rng.normal(size=(4, 50, 5))) for _ in range(125)]
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
    detector = fitted(rng.normal(size=(1000, 3)))
    window[:60, 1] = value
    outcome = detector.test(Sample.untimed(window))
    assert outcome.p_value < 1e-6
    assert outcome.feature_distance.argmax() == 1
    window[:] = value
    assert detector.test(Sample.untimed(window)).statistic == 1.0


def test_ks_takes_missing_values_above_infinity() -> None:
    reference = np.array([1.0, np.inf, np.nan, np.nan])[:, None]
    for window, distance in (([np.nan, np.nan], 0.5), ([np.inf, np.inf], 0.5), ([1.0, np.inf, np.nan, np.nan], 0.0)):
        assert fitted(reference).test(Sample.untimed(np.array(window)[:, None])).statistic == distance


def test_ks_state_restores_the_same_test(ks: Artifact) -> None:
    window = np.random.default_rng(13).normal(size=(50, 4))
    detector = KolmogorovSmirnov.restore(ks.state, Execution())
    again = KolmogorovSmirnov.restore(detector.state(), Execution())
    assert (
        detector.test(Sample.untimed(window)).feature_p_value.tobytes()
        == again.test(Sample.untimed(window)).feature_p_value.tobytes()
    )
    assert detector.described() == again.described()
