"""The kinds against their definitions, scikit-learn in this process, and what PyOD said (`oracles/make_pyod.py`)."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from wayside.detectors.kinds.pca import PrincipalComponents
from wayside.detectors.kinds.protocol import FitContext, RowDetector
from wayside.detectors.kinds.registry import row_detector
from wayside.eventing.errors import ConfigurationError

REFERENCE = np.random.default_rng(3).normal(size=(400, 7)) @ np.random.default_rng(9).normal(size=(7, 7))
ROWS = np.random.default_rng(4).normal(size=(100, 7)) * 3


def fitted(kind: str, rows: np.ndarray = REFERENCE, **options: float) -> RowDetector:
    detector = row_detector(kind)
    return detector.fit(rows, detector.options(**options), FitContext())


@pytest.fixture(scope="module")
def pyod() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("oracles") / "pyod.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize(
    ("kind", "options"), [("ecod", {}), ("copod", {}), ("knn", {"k": 7})], ids=lambda each: str(each)
)
def test_pyod_says_the_same(kind: str, options: dict[str, float], pyod: dict[str, np.ndarray]) -> None:
    scores = fitted(kind, pyod["reference"], **options).score(pyod["rows"])
    if kind == "knn":  # PyOD does not count a reference row as its own neighbour, where it is asked for it by `fit`
        assert np.allclose(scores, pyod["knn"], rtol=1e-9)
    else:
        assert np.allclose(scores, pyod[kind], rtol=1e-12)


def test_lof_is_scikit_learns() -> None:
    theirs = LocalOutlierFactor(n_neighbors=12, novelty=True).fit(REFERENCE)
    assert np.allclose(fitted("lof", k=12).score(ROWS), -theirs.score_samples(ROWS), rtol=1e-10)


def test_lof_of_many_equal_rows_is_one_on_them_and_large_beside_them() -> None:
    detector = fitted("lof", np.repeat(REFERENCE[:5], 60, axis=0), k=10)
    on, beside = detector.score(REFERENCE[:5]), detector.score(REFERENCE[:5] + 0.1)
    assert np.allclose(on, 1.0)
    assert (beside > 1e6).all()


def test_knn_is_the_distance_to_the_kth_nearest_row() -> None:
    expected = np.sort(cdist(ROWS, REFERENCE), axis=1)[:, 2]
    assert np.allclose(fitted("knn", k=3).score(ROWS), expected, rtol=1e-10)


@pytest.mark.parametrize("rows", [11, 31, 32, 33, 400])
@pytest.mark.parametrize("k", [1, 5, 11])
def test_knn_finds_all_neighbours_of_references_of_any_size(rows: int, k: int) -> None:
    expected = np.sort(cdist(ROWS, REFERENCE[:rows]), axis=1)[:, k - 1]
    assert np.allclose(fitted("knn", REFERENCE[:rows], k=k).score(ROWS), expected, rtol=1e-10)


def test_knn_does_not_lose_small_distances_to_cancellation() -> None:
    reference = np.random.default_rng(5).normal(size=(50, 30)) + 1e6
    assert fitted("knn", reference, k=1).score(reference).tolist() == [0.0] * 50


def test_one_huge_value_changes_no_rows_neighbours() -> None:
    """As bytes of network traffic are: one value so large that a product rounds all other rows to one."""
    random = np.random.default_rng(6)
    rows = np.column_stack([np.round(random.lognormal(6, 1.5, 700)) / 1e10, random.integers(0, 2, (700, 4))])
    rows[0, 0] = 1.0
    reference, others = rows[:500], rows[500:]
    nearest = np.sort(cdist(others, reference), axis=1)[:, 4]
    assert np.allclose(fitted("knn", reference).score(others), nearest, rtol=1e-6, atol=0)
    theirs = LocalOutlierFactor(n_neighbors=20, novelty=True, algorithm="kd_tree").fit(reference)
    assert np.allclose(fitted("lof", reference, k=20).score(others), -theirs.score_samples(others), rtol=1e-6)


def test_squares_whose_sum_is_no_float64_are_an_infinite_score_of_pca() -> None:
    detector = PrincipalComponents(np.zeros(3), np.zeros((3, 0)))
    assert detector.score(np.full((1, 3), 1.3e154)).tolist() == [np.inf]


@pytest.mark.parametrize("kind", ["knn", "lof", "ecod", "copod"])
def test_a_large_reference_is_drawn_from_by_the_seed(kind: str) -> None:
    detector = row_detector(kind)
    options = detector.options(reference_rows=100)
    drawn = [detector.fit(REFERENCE, options, FitContext(seed)).state().arrays for seed in (1, 1, 2)]
    kept = [arrays.get("reference", arrays.get("columns")) for arrays in drawn]
    assert 100 in kept[0].shape
    assert np.array_equal(kept[0], kept[1])
    assert not np.array_equal(kept[0], kept[2])


def test_mahalanobis_uses_the_ledoit_wolf_covariance() -> None:
    expected = np.sqrt(LedoitWolf().fit(REFERENCE).mahalanobis(ROWS))
    assert np.allclose(fitted("mahalanobis").score(ROWS), expected, rtol=1e-9)


@pytest.mark.parametrize(("components", "count"), [(3, 3), (0.5, None), (0.9, None), (7, 6), (100, 6)])
def test_pca_is_the_squared_error_of_scikit_learns_reconstruction(components: float, count: int | None) -> None:
    theirs = PCA(components if count is None else count, svd_solver="full").fit(REFERENCE)
    residual = ROWS - theirs.inverse_transform(theirs.transform(ROWS))
    detector = fitted("pca", components=components)
    assert np.allclose(detector.feature_scores(ROWS), np.square(residual), rtol=1e-7, atol=1e-9)
    assert np.allclose(detector.score(ROWS), np.square(residual).sum(axis=1), rtol=1e-7)


@pytest.mark.parametrize("components", [1, 4])
def test_gmm_is_scikit_learns_negative_log_likelihood(components: int) -> None:
    theirs = GaussianMixture(components, reg_covar=0.01, max_iter=500, random_state=0).fit(REFERENCE)
    assert np.allclose(fitted("gmm", components=components).score(ROWS), -theirs.score_samples(ROWS), rtol=1e-10)


def test_gmm_tells_rows_apart_whose_likelihood_is_no_float64() -> None:
    near, far = fitted("gmm", components=2).score(np.full((2, 7), 1.0) * [[1e4], [2e4]])
    assert 1e6 < near < far < np.inf


def test_tails_beyond_all_rows_are_those_of_one_in_n_plus_one() -> None:
    scores = fitted("ecod", REFERENCE).feature_scores(np.full((1, 7), 1e9))
    assert np.allclose(scores, np.log(len(REFERENCE) + 1))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("knn", {"k": 0}),
        ("knn", {"k": 11, "reference_rows": 10}),
        ("lof", {"k": 0}),
        ("lof", {"k": 10, "reference_rows": 10}),
        ("ecod", {"reference_rows": 1}),
        ("pca", {"components": 0.0}),
        ("pca", {"components": 1.5}),
        ("pca", {"components": float("nan")}),
        ("gmm", {"components": 0}),
        ("gmm", {"ridge": 0.0}),
        ("iforest", {"trees": 0}),
        ("iforest", {"trees": 1001}),
        ("iforest", {"samples": 1}),
        ("iforest", {"trees": 65, "samples": 4096}),
    ],
    ids=lambda each: str(each),
)
def test_options_out_of_range_are_refused(kind: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="give"):
        row_detector(kind).options(**options)


@pytest.mark.parametrize(("kind", "needed"), [("lof", 31), ("knn", 5), ("gmm", 16)])
def test_rows_that_are_one_too_few_are_refused_and_named(kind: str, needed: int) -> None:
    with pytest.raises(ConfigurationError, match=f"needs at least {needed} rows to fit on, there are {needed - 1}"):
        fitted(kind, REFERENCE[: needed - 1])
    fitted(kind, REFERENCE[:needed])
