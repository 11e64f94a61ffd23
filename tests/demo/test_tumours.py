"""Rows of the tabular demo: independent draws, named, and outliers that are outliers."""

from collections.abc import Callable

import numpy as np
import pytest

from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.table import Table
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.payload import Message
from wayside.local.demo.population import Sample
from wayside.local.demo.scenario import SCENARIOS
from wayside.local.demo.traffic import encode
from wayside.local.demo.tumours import Tumours, TumourStream


@pytest.fixture(scope="module")
def tumours() -> Tumours:
    return Tumours.load(7)


def test_a_stream_is_decided_by_seed_and_purpose(tumours: Tumours) -> None:
    first = tumours.stream("fit").ordinary(50).rows
    assert np.array_equal(first, tumours.stream("fit").ordinary(50).rows)
    assert not np.array_equal(first, tumours.stream("calibrate").ordinary(50).rows)
    assert not np.array_equal(first, Tumours.load(8).stream("fit").ordinary(50).rows)


def test_no_row_comes_twice(tumours: Tumours) -> None:
    rows = np.concatenate([tumours.stream(purpose).ordinary(3_000).rows for purpose in ("fit", "calibrate", "traffic")])
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("draw", [TumourStream.ordinary, TumourStream.shifted, TumourStream.outliers])
def test_rows_are_measurements(tumours: Tumours, draw: Callable[[TumourStream, int], Sample]) -> None:
    sample = draw(tumours.stream("x"), 200)
    assert sample.rows.shape == (200, tumours.features) == (200, 30)
    assert np.isfinite(sample.rows).all()
    assert (sample.rows >= 0).all()


def test_outliers_are_far_and_the_shift_is_not(tumours: Tumours) -> None:
    rows = tumours.stream("fit").ordinary(4_000).rows
    table = Table.of(rows, tumours.names)
    judge = RowJudge.of(fit_artifact(SCENARIOS["tabular"].row_kind, table, FitSettings(alpha=0.01)).artifact)

    def share(draw: Callable[[TumourStream, int], Sample]) -> float:
        scores = judge.score(draw(tumours.stream("test"), 1_000).rows)
        return float(np.mean(judge.verdict(scores).decisions))

    assert share(TumourStream.ordinary) < 0.03
    assert share(TumourStream.shifted) < 0.03
    assert share(TumourStream.outliers) > 0.6


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_features_go_by_name(tumours: Tumours, protocol: str) -> None:
    rows = tumours.stream("x").ordinary(3).rows
    payload = decode(Message(encode(rows, protocol, tumours), content_type="application/json"))
    assert {column.name for column in payload.columns} == set(tumours.names)
