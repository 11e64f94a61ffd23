"""The generator: draws that depend on seed and purpose alone, never repeat, and are what their names say."""

import numpy as np
import pytest

from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.table import Table
from wayside.local.demo.digits import FEATURES, NO_DIGIT, Digits, DigitStream


@pytest.fixture(scope="module")
def population() -> Digits:
    return Digits.load(7)


def test_a_stream_is_decided_by_seed_and_purpose(population: Digits) -> None:
    first, again = (population.stream("fit").ordinary(50).rows for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, population.stream("traffic").ordinary(50).rows)
    assert not np.array_equal(first, Digits.load(8).stream("fit").ordinary(50).rows)


def test_no_row_comes_twice_within_or_across_streams(population: Digits) -> None:
    rows = np.concatenate([population.stream(name).ordinary(3_000).rows for name in ("fit", "train", "traffic")])
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize(
    "draw",
    [DigitStream.ordinary, DigitStream.shifted, DigitStream.corrupted, DigitStream.foreign, DigitStream.outliers],
)
def test_rows_are_pictures(population: Digits, draw: object) -> None:
    sample = draw(population.stream("x"), 200)  # type: ignore[operator]
    assert sample.rows.shape == (200, FEATURES)
    assert sample.rows.min() >= 0
    assert sample.rows.max() <= 16
    assert np.array_equal(sample.rows, sample.rows.round(2))
    assert set(np.unique(sample.labels)) <= {NO_DIGIT, *range(10)}


def test_outliers_are_far_and_the_shift_is_not(population: Digits) -> None:
    fitted = population.stream("fit").ordinary(4_000).rows
    artifact = fit_artifact("knn", Table.of(fitted), FitSettings(name="outlier", alpha=0.01)).artifact
    judge = RowJudge.of(artifact)

    def share(draw: object) -> float:
        rows = draw(population.stream("check"), 1_000).rows  # type: ignore[operator]
        return float(np.mean(judge.verdict(judge.score(rows)).decisions))

    assert share(DigitStream.ordinary) < 0.03
    assert share(DigitStream.shifted) < 0.03
    assert share(DigitStream.corrupted) > 0.8
    assert share(DigitStream.foreign) > 0.8
