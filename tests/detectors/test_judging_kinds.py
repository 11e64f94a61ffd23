"""Real kinds behind the judge: drift is found, told with its feature, by tests of either sort, alone or compared."""

import numpy as np
import pytest

from wayside.detectors.drift.settings import Budget, Compared
from wayside.detectors.drift.windowing.values import Window
from wayside.detectors.kinds.protocol import Sample, WindowDetector, WindowFitContext
from wayside.detectors.kinds.registry import window_detector

from .judging_side import judge_of, judged_all, told, window_of

_ROWS = 100


def fitted(kind: str, reference: np.ndarray) -> WindowDetector:
    cls = window_detector(kind)
    context = WindowFitContext(window_rows=_ROWS, categories=(0,) * reference.shape[1])
    return cls.fit(Sample(reference, np.arange(len(reference)) * 1.0), cls.options(), context)


def normal_rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3))


def windows_of(moved: set[int], groups: list[str]) -> list[Window]:
    """Six windows of an hour; in those that `moved`, the second column of every other row is higher."""
    found = []
    for at in range(6):
        rows = normal_rows(_ROWS, 100 + at)
        rows[1::2, 1] += 3.0 * (at in moved)
        found.append(window_of(rows, at * 3600, at * 3600 + 3599, at * _ROWS, groups))
    return found


@pytest.mark.parametrize("kind", ["ks", "cvm", "tabular", "cusum"])
def test_drift_is_told_with_the_feature_that_moved(kind: str) -> None:
    reference = normal_rows(4000, 0)
    judge = judge_of(fitted(kind, reference), reference, budget=Budget(1e-4), resolve_after=1)
    found = judged_all(judge, windows_of({2}, []))
    assert [judged.outcome for judged in found] == ["no_drift", "no_drift", "drift", *["no_drift"] * 3]
    features = told(found[2]).findings.features
    assert (features[0].name, features[0].is_drift) == ("1", True)
    resolved = 5 if kind == "cusum" else 3  # it started again, and takes as many rows to find what lasts
    assert [len(judged.alerts) for judged in found] == [at in (2, resolved) for at in range(6)]


@pytest.mark.parametrize("kind", ["ks", "cvm", "tabular"])
def test_a_canary_that_drifts_is_told_beside_a_stable_revision(kind: str) -> None:
    reference = normal_rows(4000, 0)
    settings = {"budget": Budget(1e-4), "compared": Compared.REVISIONS}
    found = judged_all(judge_of(fitted(kind, reference), **settings), windows_of({4}, ["00001", "00002"] * 50))
    assert [judged.outcome for judged in found] == [*["no_drift"] * 4, "drift", "no_drift"]
    verdict = told(found[4])
    comparison = verdict.findings.comparison
    assert comparison is not None
    assert (comparison.stable, [group.name for group in comparison.groups]) == ("00001", ["00002"])
    assert verdict.findings.features[0].name == "1"
