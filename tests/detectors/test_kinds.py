"""What every row detector that needs no Keras keeps: batches, restoring, seeds, hostile rows and hostile fits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.protocol import Execution, FitContext, RowDetector, State
from wayside.detectors.kinds.registry import (
    KINDS,
    ROW_KINDS,
    STATEFUL_KINDS,
    WINDOW_KINDS,
    row_detector,
    window_detector,
)
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.preprocessing import Preprocessing, Scaling
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

FITTED_ELSEWHERE = {"autoencoder", "vae", "alibi"}  # by Keras, or by another library in a process of its own
KINDS_HERE = sorted(set(ROW_KINDS) - FITTED_ELSEWHERE)
EXPLAINING = [kind for kind in KINDS_HERE if row_detector(kind).gives_feature_scores]
# by design the online kind judges nothing by a covariance that is singular, and has few columns (its own tests say so)
FOR_ANY_ROWS = sorted(set(KINDS_HERE) - {"mahalanobis-online"})
REFERENCE = np.random.default_rng(3).normal(size=(300, 7))
ROWS = np.random.default_rng(4).normal(size=(272, 7)) * 1.5
SMALL = {"iforest": {"trees": 20}, "gmm": {"components": 2}}  # options that only take time here
SIZES = (1, 2, 3, 7, 16, 17, 256)


def fitted(kind: str, rows: np.ndarray = REFERENCE, seed: int = 0) -> RowDetector:
    detector = row_detector(kind)
    return detector.fit(rows, detector.options(**SMALL.get(kind, {})), FitContext(seed))


def settings(kind: str, **changed: Any) -> FitSettings:
    return FitSettings(options=SMALL.get(kind, {}), **changed)


@pytest.fixture(scope="module")
def detectors() -> dict[str, RowDetector]:
    return {kind: fitted(kind) for kind in KINDS_HERE}


@pytest.fixture(scope="module")
def artifacts() -> dict[str, Artifact]:
    table = Table.of(np.random.default_rng(6).normal(size=(2000, 3)))
    return {kind: fit_artifact(kind, table, settings(kind)).artifact for kind in KINDS_HERE}


def test_the_registry_has_each_kind_once_under_its_own_name() -> None:
    assert len(set(KINDS)) == len(ROW_KINDS) + len(WINDOW_KINDS)
    assert [row_detector(kind).kind for kind in KINDS_HERE] == KINDS_HERE
    assert [window_detector(kind).kind for kind in WINDOW_KINDS] == [*WINDOW_KINDS]
    with pytest.raises(ConfigurationError, match="no detector kind 'ks': known are"):
        row_detector("ks")


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_scores_are_the_same_bits_in_whatever_batch(kind: str, detectors: dict[str, RowDetector]) -> None:
    whole = detectors[kind].score(ROWS)
    for size in SIZES:
        parts = [detectors[kind].score(ROWS[start : start + size]) for start in range(0, len(ROWS), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), f"in batches of {size}"


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_a_restored_detector_gives_the_same_bits(kind: str, detectors: dict[str, RowDetector]) -> None:
    detector = detectors[kind]
    restored = row_detector(kind).restore(detector.state(), Execution())
    assert restored.features == detector.features == 7
    assert restored.score(ROWS).tobytes() == detector.score(ROWS).tobytes()
    assert detector.score(ROWS).dtype == np.float64
    assert detector.score(ROWS[:0]).shape == (0,)


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_a_restored_detector_refuses_the_state_of_another(kind: str, detectors: dict[str, RowDetector]) -> None:
    state = detectors["mahalanobis" if kind != "mahalanobis" else "knn"].state()
    with pytest.raises((KeyError, ValueError)):
        row_detector(kind).restore(state, Execution())


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_a_row_far_out_has_the_highest_score(kind: str, detectors: dict[str, RowDetector]) -> None:
    far = np.concatenate([ROWS, np.full((1, 7), 40.0)])
    scores = detectors[kind].score(far)
    assert np.isfinite(scores).all()
    assert scores.argmax() == len(ROWS)


@pytest.mark.parametrize("kind", EXPLAINING)
def test_feature_scores_blame_the_feature_that_is_far_out(kind: str) -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(size=(500, 1))  # the columns go together, and the blamed one leaves the others
    row = np.zeros((2, 7))
    row[1, 4] = 9.0
    scores = fitted(kind, common + 0.5 * rng.normal(size=(500, 7))).feature_scores(row)
    assert scores.shape == (2, 7)
    assert scores[1].argmax() == 4


@pytest.mark.parametrize(
    ("kind", "power"),
    [("copod", 1), ("ecod", 1), ("knn", 2), ("mahalanobis", 2), ("pca", 1)],
    ids=lambda value: str(value),
)
def test_feature_scores_sum_to_the_score(kind: str, power: int, detectors: dict[str, RowDetector]) -> None:
    assert np.allclose(
        detectors[kind].feature_scores(ROWS).sum(axis=1), detectors[kind].score(ROWS) ** power, rtol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_one_seed_gives_one_digest(kind: str, artifacts: dict[str, Artifact]) -> None:
    table = Table.of(np.random.default_rng(6).normal(size=(2000, 3)))
    assert fit_artifact(kind, table, settings(kind)).artifact.digest == artifacts[kind].digest
    other = fit_artifact(kind, table, settings(kind, seed=1)).artifact
    assert (other.digest == artifacts[kind].digest) is (kind in STATEFUL_KINDS)  # these split by time, not by seed


@pytest.mark.parametrize("kind", KINDS_HERE)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_flagged_and_harms_no_other(
    kind: str, value: float, artifacts: dict[str, Artifact]
) -> None:
    judge = RowJudge.of(artifacts[kind])
    rows = np.zeros((3, 3))
    rows[1, 2] = value
    verdict = judge.verdict(judge.score(rows))
    assert list(verdict.decisions) == [False, True, False]
    assert verdict.scores[1] is None
    assert verdict.scores[0] == verdict.scores[2] is not None


@pytest.mark.parametrize(
    ("kind", "array", "values"),
    [
        ("knn", "k", [np.inf]),
        ("knn", "k", [1, 2]),
        ("lof", "k", [np.nan]),
        ("mahalanobis-online", "options", [np.inf, 3.0, 100.0, 0.0]),
        ("mahalanobis-online", "options", 1.0),
        ("gmm", "means", 1.0),
        ("ecod", "columns", 1.0),
        ("pca", "mean", 1.0),
    ],
)
def test_an_artifact_with_an_array_of_another_form_is_refused_and_named(
    kind: str, array: str, values: Any, artifacts: dict[str, Artifact]
) -> None:
    whole = artifacts[kind]
    damaged = replace(whole, state=State({**whole.state.arrays, array: np.array(values)}, whole.state.files))
    with pytest.raises(ConfigurationError, match=f"'outlier' is no {kind} detector"):
        RowJudge.of(damaged)


@pytest.mark.parametrize(
    ("kind", "thresholds"),
    [("mahalanobis", [1.0] * 4), ("mahalanobis", [[1.0] * 3]), ("mahalanobis", [np.nan] * 3), ("lof", [1.0] * 3)],
    ids=["width", "shape", "NaN", "a kind without feature scores"],
)
def test_thresholds_of_another_detectors_columns_are_refused(
    kind: str, thresholds: Any, artifacts: dict[str, Artifact]
) -> None:
    calibration = artifacts[kind].calibration
    assert calibration is not None
    other = replace(artifacts[kind], calibration=CalibrationRows(calibration.scores, np.array(thresholds)))
    with pytest.raises(ConfigurationError, match="thresholds of feature scores that are not its detector's"):
        RowJudge.of(other)


@pytest.mark.parametrize("kind", KINDS_HERE)
@pytest.mark.parametrize("value", [1e30, 1.2e154, 1e200, -1e308])
def test_a_row_of_huge_values_is_never_ordinary(kind: str, value: float, artifacts: dict[str, Artifact]) -> None:
    judge = RowJudge.of(artifacts[kind])
    p_values = judge.verdict(judge.score(np.array([[0.0] * 3, [value] * 3]))).p_values
    assert p_values[1] < 0.005 < p_values[0]


@pytest.mark.parametrize("kind", KINDS_HERE)
@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_are_refused(kind: str, rows: int) -> None:
    with pytest.raises(ConfigurationError, match=r"row|k ="):
        fitted(kind, np.zeros((rows, 3)))


HOSTILE_FITS = {
    "a column that never changes": REFERENCE * [1, 1, 0, 1, 1, 1, 1],
    "every row many times": np.repeat(REFERENCE[:20], 15, axis=0),
    "two columns that are one": REFERENCE[:, [0, 1, 2, 3, 4, 5, 5]],
    "one column": REFERENCE[:, :1],
    "an offset": REFERENCE + 1e6,
    "more columns than rows": np.random.default_rng(5).normal(size=(40, 784)),
}


@pytest.mark.parametrize("kind", FOR_ANY_ROWS)
@pytest.mark.parametrize("fit_on", HOSTILE_FITS)
def test_hostile_fits_score_ordinary_rows_below_others(kind: str, fit_on: str) -> None:
    rows = HOSTILE_FITS[fit_on]
    detector = fitted(kind, rows)
    ordinary, other = detector.score(rows), detector.score(rows[:5] + 30.0)
    assert np.isfinite(ordinary).all()
    assert np.isfinite(other).all()
    assert np.median(ordinary) < other.min()
    assert detector.score(rows[:1]).tobytes() == ordinary[:1].tobytes()


@pytest.mark.parametrize("kind", FOR_ANY_ROWS)
@pytest.mark.parametrize("columns", [1, 4])
def test_where_nothing_ever_changes_a_change_is_no_less_anomalous(kind: str, columns: int) -> None:
    """A forest cannot cut equal rows: it sees no difference, every other kind does."""
    same, other = fitted(kind, np.zeros((300, columns))).score(np.array([[0.0] * columns, [1.0] * columns]))
    assert np.isfinite([same, other]).all()
    assert same == other if kind == "iforest" else same < other


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_false_alarm_promise_is_kept(kind: str) -> None:
    """The rate on fresh rows lies where the Beta interval says, widened for the sampling of the test itself."""
    rng = np.random.default_rng(8)
    report = fit_artifact(kind, Table.of(rng.normal(size=(3000, 5))), settings(kind, alpha=0.02))
    judge = RowJudge.of(report.artifact)
    rate = np.mean(judge.verdict(judge.score(rng.normal(size=(8000, 5)))).decisions)
    assert report.interval is not None
    assert report.interval.low - 0.007 < rate < report.interval.high + 0.007


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_a_kind_names_a_scaling_that_there_is(kind: str) -> None:
    scaling = Scaling(row_detector(kind).scaling)
    table = Table.of(REFERENCE * [1, 10, 100, 1, 1, 1, 0])
    assert np.isfinite(Preprocessing.fit(Schema.of(table), table.values, scaling).apply(table.values)).all()
