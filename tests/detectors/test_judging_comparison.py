"""Groups of one window held against each other: which is stable, which drifted, which are too small."""

import numpy as np
import pytest

from wayside.detectors.drift.settings import Compared
from wayside.detectors.drift.windowing.values import Window
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.window_findings import Comparison, PartVerdict

from .judging_side import ComparingDetector, CountingDetector, SaidDetector, judge_of, judged_all, told, window_of


def grouped(*groups: tuple[str, int, float]) -> Window:
    """A window of one hour: of each group its name, its rows, and what its comparison will say."""
    names = [name for name, rows, _ in groups for _ in range(rows)]
    values = [[p_value, 0.0] for _, rows, p_value in groups for _ in range(rows)]
    return window_of(values, 0, 3600, groups=names)


def compared(window: Window, what: Compared = Compared.REVISIONS, **settings: object) -> Comparison | None:
    (judged,) = judged_all(judge_of(ComparingDetector(), compared=what, **settings), [window])
    return told(judged).findings.comparison


@pytest.mark.parametrize(
    ("what", "groups", "stable"),
    [
        (Compared.REVISIONS, [("a", 9, 0.5), ("b", 3, 0.5)], "a"),
        (Compared.REVISIONS, [("a", 3, 0.5), ("b", 9, 0.5)], "b"),
        (Compared.REVISIONS, [("b", 4, 0.5), ("a", 4, 0.5)], "a"),
        (Compared.REVISIONS, [("default", 3, 0.5), ("canary", 9, 0.5)], "canary"),
        (Compared.ENDPOINTS, [("default", 3, 0.5), ("canary", 9, 0.5)], "default"),
        (Compared.ENDPOINTS, [("", 3, 0.5), ("canary", 9, 0.5)], ""),
        (Compared.ENDPOINTS, [("blue", 3, 0.5), ("green", 9, 0.5)], "green"),
    ],
)
def test_which_group_is_stable(what: Compared, groups: list[tuple[str, int, float]], stable: str) -> None:
    found = compared(grouped(*groups), what)
    assert found is not None
    assert found.stable == stable
    assert found.rows == dict((name, rows) for name, rows, _ in groups)[stable]


def test_each_other_group_is_held_against_the_stable_one() -> None:
    judge = judge_of(ComparingDetector(), compared=Compared.REVISIONS)
    (judged,) = judged_all(judge, [grouped(("a", 20, 0.9), ("b", 5, 0.02), ("c", 5, 0.03), ("d", 1, 0.0))])
    verdict = told(judged)
    assert verdict.findings.comparison == Comparison(
        "a",
        20,
        (
            PartVerdict("b", True, 0.04, 0.98, 5),
            PartVerdict("c", True, 0.04, 0.97, 5),
            PartVerdict("d", False, None, None, 1, "2 rows are the least"),
        ),
    )
    assert (judged.outcome, verdict.p_value, verdict.distance) == ("drift", 0.04, 0.98)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([("a", 9, 0.5)], "rows of one of the revisions alone: there is nothing to compare"),
        ([("a", 9, 0.5), ("b", 1, 0.0)], "'a' has 9, 'b' has 1 rows, and 2 are the least to compare"),
        ([("a", 1, 0.5), ("b", 1, 0.0)], "2 are the least to compare"),
        ([("a", 9, 0.5), ("b", 2, np.nan)], "one of the revisions alone"),
        ([("a", 9, 0.5), ("b", 2, -1.0)], "its numbers ran out"),
    ],
)
def test_what_cannot_be_compared_is_told(groups: list[tuple[str, int, float]], reason: str) -> None:
    (judged,) = judged_all(judge_of(ComparingDetector(), compared=Compared.REVISIONS), [grouped(*groups)])
    assert judged.outcome == "unjudged"
    assert reason in str(told(judged).error)


def test_the_least_p_value_is_that_of_all_comparisons() -> None:
    window = grouped(("a", 20, 0.9), ("b", 5, 0.9), ("c", 5, 0.9))
    window.rows[:, 1] = 0.03
    (judged,) = judged_all(judge_of(ComparingDetector(), compared=Compared.REVISIONS), [window])
    assert "the least p-value that the test can tell, 0.06" in str(told(judged).error)


def test_evidence_is_of_the_group_that_drifted_against_the_stable_one() -> None:
    window = grouped(("a", 40, 0.5), ("b", 40, 0.5), ("c", 40, 0.0))
    window.rows[:, 1] = np.concatenate([np.arange(40.0), np.arange(40.0), np.arange(40.0) + 100]) - 1000
    (judged,) = judged_all(judge_of(ComparingDetector(), compared=Compared.REVISIONS), [window])
    feature = {each.name: each for each in told(judged).findings.features}["1"]
    assert feature.reference == (-999, -991, -981, -971, -963)
    assert feature.window == (-899, -891, -881, -871, -863)


@pytest.mark.parametrize("detector", [SaidDetector(), CountingDetector()], ids=lambda each: type(each).__name__)
def test_a_kind_that_cannot_compare_is_refused(detector: SaidDetector) -> None:
    with pytest.raises(ConfigurationError, match="cannot compare endpoints with each other: fit a kind that can"):
        judge_of(detector, compared=Compared.ENDPOINTS)
