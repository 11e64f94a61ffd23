"""What is shown of a window that drifted: Holm's correction, the reference's summary, the features that moved most."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from wayside.detectors.drift.judging.evidence import MOST_FEATURES, MOST_RECORDS, Evidence, records_of
from wayside.detectors.drift.judging.holm import adjusted
from wayside.detectors.drift.judging.summary import TOLD, ReferenceSummary, quantiles
from wayside.detectors.drift.transforms.columns import ColumnsTransform
from wayside.detectors.drift.transforms.scaled import ScaledTransform
from wayside.detectors.kinds.protocol import WindowTest
from wayside.detectors.tabular.preprocessing import Preprocessing, Scaling
from wayside.detectors.tabular.schema import ColumnSchema, ColumnType, Schema
from wayside.eventing.window_findings import MovedFeature
from wayside.eventing.window_verdict import RowRange

_TIME = "2024-01-02T03:04:05Z"
_SCHEMA = Schema(
    (
        ColumnSchema("age", missing=True),
        ColumnSchema("colour", ColumnType.CATEGORY, ("red", "green", "blue"), missing=True),
        ColumnSchema("income"),
    )
)
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BLIND = WindowTest(1.0, 0.001, np.empty(0), np.empty(0))


def rows_of(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(size=count), rng.integers(0, 3, count), rng.lognormal(size=count)])


_REFERENCE = rows_of(4000, 0)
_SUMMARY = ReferenceSummary.of(_REFERENCE, _SCHEMA)
_EVIDENCE = Evidence(_SCHEMA, ColumnsTransform(_SCHEMA))


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.01], [0.01]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.5], [1.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert adjusted(np.array(p_values)) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_an_adjusted_p_value_is_at_most_the_level_where_holm_rejects(p_values: list[float], level: float) -> None:
    """Holm's procedure as the paper has it: step down until one is above its share."""
    rejected, many = set(), len(p_values)
    for step, at in enumerate(sorted(range(many), key=lambda at: (p_values[at], at))):
        if (many - step) * p_values[at] > level:
            break
        rejected.add(at)
    assert set(np.flatnonzero(adjusted(np.array(p_values)) <= level).tolist()) == rejected


def test_a_summary_reads_back_and_is_compact() -> None:
    arrays_ = _SUMMARY.arrays()
    again = ReferenceSummary.restore(arrays_, _SCHEMA)
    assert all(np.array_equal(again.arrays()[name], array, equal_nan=True) for name, array in arrays_.items())
    assert sum(array.nbytes for array in arrays_.values()) < 3 * 201 * 8 + 100


def test_a_summary_of_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="the summary of the reference has shapes"):
        ReferenceSummary.restore(_SUMMARY.arrays(), Schema.of_width(3))
    with pytest.raises(KeyError):
        ReferenceSummary.restore({}, _SCHEMA)


def test_a_summary_tells_quantiles_and_shares() -> None:
    age = _SUMMARY.grids[0, [10, 50, 100, 150, 190]]
    assert age == pytest.approx(np.quantile(_REFERENCE[:, 0], _SHARES, method="inverted_cdf"))
    counts = np.bincount(_REFERENCE[:, 1].astype(int), minlength=4) / 4000
    assert _SUMMARY.shares_of(1, _SCHEMA) == pytest.approx(counts)
    assert np.isnan(_SUMMARY.grids[1]).all()


@given(
    arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.5, 3.0])),
    st.integers(0, 3),
)
def test_a_distance_is_kolmogorovs_less_what_the_grid_cannot_tell(values: np.ndarray, seed: int) -> None:
    reference = np.round(np.random.default_rng(seed).normal(size=(500, 1)), 1)
    schema = Schema.of_width(1)
    (distance,), (p_value,) = ReferenceSummary.of(reference, schema).distances(values[:, None], schema)
    exact = ks_2samp(values, reference[:, 0]).statistic
    assert max(0.0, exact - 0.0051) <= distance + 1e-12
    assert distance <= exact + 1e-12
    assert 0.0 <= p_value <= 1.0


def test_p_values_by_the_summary_are_not_too_small() -> None:
    rng = np.random.default_rng(5)
    found = np.array([_SUMMARY.distances(rows_of(100, seed), _SCHEMA)[1] for seed in rng.integers(1, 1 << 30, 400)])
    for level in (0.05, 0.2):
        assert ((found <= level).mean(axis=0) <= level + 3 * np.sqrt(level * (1 - level) / 400)).all()


@pytest.mark.parametrize(
    ("column", "change"),
    [
        (0, lambda values: values + 2.0),
        (0, lambda values: np.where(np.arange(len(values)) % 2, np.nan, values)),
        (1, lambda values: np.zeros_like(values)),
        (1, lambda values: np.full_like(values, 3.0)),
        (1, lambda values: np.full_like(values, np.nan)),
        (2, lambda values: values * 5.0),
        (2, lambda values: np.full_like(values, np.inf)),
    ],
    ids=["shift", "missing", "one-category", "unseen", "no-category", "scale", "infinite"],
)
def test_the_column_that_moved_comes_first_without_any_view_of_columns(column: int, change: object) -> None:
    window = rows_of(200, 7)
    window[:, column] = change(window[:, column])  # type: ignore[operator]
    first, *others = _EVIDENCE.moved(window, _SUMMARY, _BLIND, 0.01)
    assert (first.name, first.is_drift) == (("age", "colour", "income")[column], True)
    assert [other.is_drift for other in others] == [False, False]
    json.dumps(first.to_json(), allow_nan=False)


def test_a_moved_number_has_its_quantiles() -> None:
    window = rows_of(200, 7)
    window[:, 2] = np.where(np.arange(200) < 20, np.nan, window[:, 2] * 5)
    first = _EVIDENCE.moved(window, _SUMMARY, _BLIND, 0.01)[0]
    known = window[20:, 2]
    assert first.window == pytest.approx(np.quantile(known, _SHARES, method="inverted_cdf"))
    assert first.reference == pytest.approx(np.quantile(_REFERENCE[:, 2], _SHARES, method="inverted_cdf"))


def test_a_moved_category_has_its_shares() -> None:
    window = rows_of(200, 7)
    window[:, 1] = [3.0] * 100 + [0.0] * 50 + [np.nan] * 50
    first = _EVIDENCE.moved(window, _SUMMARY, _BLIND, 0.01)[0]
    assert first.window == pytest.approx({"(any other)": 0.5, "green": 0, "blue": 0, "(missing)": 0.25, "red": 0.25})
    assert isinstance(first.reference, dict)
    assert first.reference["(any other)"] == 0.0
    assert list(first.reference) == list(first.window or ())


def test_columns_without_a_value_have_none() -> None:
    schema = Schema((ColumnSchema("a", missing=True), ColumnSchema("b", missing=True)))
    reference = np.column_stack([np.full(50, np.nan), np.arange(50.0)])
    window = np.column_stack([np.arange(20.0), np.full(20, np.nan)])
    moved = Evidence(schema, ColumnsTransform(schema)).moved(
        window, ReferenceSummary.of(reference, schema), _BLIND, 0.01
    )
    told = {each.name: (each.reference, each.window, each.is_drift, each.distance) for each in moved}
    assert told["a"][0] is None
    assert told["b"][1] is None
    assert told["a"][2:] == told["b"][2:] == (True, 1.0)


def test_a_tests_own_view_of_columns_comes_before_the_summarys() -> None:
    test = WindowTest(0.5, 0.006, np.array([0.1, 0.2, 0.3]), np.array([0.03, 0.002, 0.002]))
    moved = _EVIDENCE.moved(rows_of(100, 3), _SUMMARY, test, 0.05)
    assert [(each.name, each.distance, each.p_value) for each in moved] == [
        ("income", 0.3, 0.006),
        ("colour", 0.2, 0.006),
        ("age", 0.1, 0.03),
    ]
    assert [each.is_drift for each in moved] == [True, True, True]


def test_the_column_that_moved_most_has_the_windows_p_value_where_that_is_less_than_holms() -> None:
    test = WindowTest(0.5, 0.003, np.array([0.1, 0.2, 0.3]), np.array([0.03, 0.2, 0.002]))
    moved = _EVIDENCE.moved(rows_of(100, 3), _SUMMARY, test, 0.005)
    assert [(each.name, each.p_value, each.is_drift) for each in moved[:2]] == [
        ("income", pytest.approx(0.003), True),
        ("age", pytest.approx(0.03), False),
    ]


def test_features_are_folded_into_the_columns_that_they_are_made_of() -> None:
    preprocessing = Preprocessing.fit(_SCHEMA, _REFERENCE, Scaling.STANDARD)
    evidence = Evidence(_SCHEMA, ScaledTransform(preprocessing))
    many = preprocessing.features
    sources = preprocessing.sources.tolist()
    p_values = np.ones(many)
    p_values[sources.index(1) + 2] = 0.001
    moved = evidence.moved(rows_of(100, 3), _SUMMARY, WindowTest(1.0, 0.9, np.full(many, 0.5), p_values), 0.05)
    assert (moved[0].name, moved[0].p_value) == ("colour", pytest.approx(3 * sources.count(1) * 0.001))


def test_what_is_told_is_bounded() -> None:
    schema = Schema(
        (ColumnSchema("c", ColumnType.CATEGORY, tuple(map(str, range(100)))), *map(ColumnSchema, "defghij"))
    )
    rng = np.random.default_rng(0)
    reference = np.column_stack([rng.integers(0, 100, 500), rng.normal(size=(500, 7))])
    window = np.column_stack([rng.integers(0, 50, 300), rng.normal(5, 1, size=(300, 7))])
    evidence, summary = Evidence(schema, ColumnsTransform(schema)), ReferenceSummary.of(reference, schema)
    moved = evidence.moved(window, summary, _BLIND, 0.01)
    assert len(moved) == MOST_FEATURES
    shares = MovedFeature("c", True, 1.0, 0.0, None, None)
    assert len(evidence.farthest(window, summary, shares)) == MOST_RECORDS


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("age", [0, 5, 0.1, np.nan, 4, 0], {1, 4}),
        ("age", [0, -5, 0.1, np.nan, -4, 0], {1, 4}),
        ("age", [np.nan, 0, 0.1, np.nan, -0.1, 0], {0, 3}),
        ("colour", [0, 1, 3, 2, 3, 1], {2, 4}),
        ("colour", [0, 1, np.nan, 2, np.nan, 1], {2, 4}),
    ],
    ids=["above", "below", "missing", "unseen", "no-category"],
)
def test_the_rows_that_stand_out_most(name: str, values: list[float], expected: set[int]) -> None:
    window = rows_of(6, 3)
    window[:, 0 if name == "age" else 1] = values
    first = MovedFeature(name, True, 1.0, 0.0, None, None)
    found = _EVIDENCE.farthest(np.repeat(window, 10, axis=0), _SUMMARY, first)
    assert {row // 10 for row in found} == expected
    assert found == sorted(found)


def test_rows_of_a_window_by_their_events() -> None:
    members = [RowRange("/a", "1", 3, 5, _TIME), RowRange("/a", "2", 0, 1, _TIME), RowRange("/b", "1", 7, 9, _TIME)]
    assert records_of(members, range(5)) == [
        ("/a", "1", 3),
        ("/a", "1", 4),
        ("/a", "2", 0),
        ("/b", "1", 7),
        ("/b", "1", 8),
    ]
    assert records_of(members, []) == []


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_quantiles_are_values_and_rise(values: np.ndarray) -> None:
    found = quantiles(values, TOLD).tolist()
    assert set(found) <= set(values.tolist())
    assert all(low <= high for low, high in pairwise(found))
    assert "-0.0" not in [json.dumps(value) for value in found]
